from glaciercube.api import (
    annual as annual,
    export as export,
    from_files as from_files,
    load as load,
    outlines as outlines,
    plot as plot,
    predict as predict,
    read as read,
    read_outlines as read_outlines,
    search as search,
    simulate as simulate,
    summarize as summarize,
    verify as verify,
    write as write,
)

__version__: str
VERBS: tuple[str, ...]
