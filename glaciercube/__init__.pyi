from glaciercube.api import (
    annual as annual,
)
from glaciercube.api import (
    export as export,
)
from glaciercube.api import (
    from_files as from_files,
)
from glaciercube.api import (
    load as load,
)
from glaciercube.api import (
    outlines as outlines,
)
from glaciercube.api import (
    plot as plot,
)
from glaciercube.api import (
    predict as predict,
)
from glaciercube.api import (
    read as read,
)
from glaciercube.api import (
    read_outlines as read_outlines,
)
from glaciercube.api import (
    search as search,
)
from glaciercube.api import (
    simulate as simulate,
)
from glaciercube.api import (
    summarize as summarize,
)
from glaciercube.api import (
    verify as verify,
)
from glaciercube.api import (
    write as write,
)

__version__: str
VERBS: tuple[str, ...]
