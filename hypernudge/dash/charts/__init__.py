"""Charts as plain data for Plotly's JavaScript: traces and a layout. Colours of the theme are the page's."""
