//! Object classes: how each kind of object is read from the source's catalogs and written as DDL.
