from glaciercube.api import (
    annual as annual,
)
from glaciercube.api import (
    append as append,
)
from glaciercube.api import (
    build_overviews as build_overviews,
)
from glaciercube.api import (
    clear as clear,
)
from glaciercube.api import (
    composite as composite,
)
from glaciercube.api import (
    end_of_ablation as end_of_ablation,
)
from glaciercube.api import (
    explain as explain,
)
from glaciercube.api import (
    export as export,
)
from glaciercube.api import (
    from_files as from_files,
)
from glaciercube.api import (
    harmonize as harmonize,
)
from glaciercube.api import (
    load as load,
)
from glaciercube.api import (
    outlines as outlines,
)
from glaciercube.api import (
    plan as plan,
)
from glaciercube.api import (
    plot as plot,
)
from glaciercube.api import (
    predict as predict,
)
from glaciercube.api import (
    rank_scenes as rank_scenes,
)
from glaciercube.api import (
    read as read,
)
from glaciercube.api import (
    read_outlines as read_outlines,
)
from glaciercube.api import (
    read_overview as read_overview,
)
from glaciercube.api import (
    read_plan as read_plan,
)
from glaciercube.api import (
    run as run,
)
from glaciercube.api import (
    search as search,
)
from glaciercube.api import (
    simulate as simulate,
)
from glaciercube.api import (
    speckle_filtered as speckle_filtered,
)
from glaciercube.api import (
    status as status,
)
from glaciercube.api import (
    summarize as summarize,
)
from glaciercube.api import (
    verify as verify,
)
from glaciercube.api import (
    with_mask as with_mask,
)
from glaciercube.api import (
    write as write,
)

__version__: str
VERBS: tuple[str, ...]
