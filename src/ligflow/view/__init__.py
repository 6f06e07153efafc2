"""What a person looks at: the terminal's table, the interactive page, figures for print."""

from typing import TYPE_CHECKING

from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.view.figures import plot as plot
    from ligflow.view.image_overlay import overlay as overlay
    from ligflow.view.interactive_page import page as page
    from ligflow.view.ladder import links as links
    from ligflow.view.notebook import show as show
    from ligflow.view.payload import pack as pack

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "links": "ligflow.view.ladder",
        "overlay": "ligflow.view.image_overlay",
        "pack": "ligflow.view.payload",
        "page": "ligflow.view.interactive_page",
        "plot": "ligflow.view.figures",
        "show": "ligflow.view.notebook",
    },
)
