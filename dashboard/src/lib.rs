//! The dashboard: reads the views of the control databases and shows them in a browser, live.
