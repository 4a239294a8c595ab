//! Identities of catalog entries: a catalog and an OID in it, as `pg_depend` writes them.

/// A system catalog, by its fixed OID. Source: the `CATALOG(…)` lines in `src/include/catalog/*.h`; they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogTable(pub u32);

macro_rules! catalog_tables {
    ($($name:ident = $oid:literal),+ $(,)?) => {
        impl CatalogTable {
            $(#[doc = concat!("OID ", stringify!($oid), ".")] pub const $name: Self = Self($oid);)+
        }
    };
}

catalog_tables! {
    TYPE = 1247, PROC = 1255, CLASS = 1259, ATTRDEF = 2604, CONSTRAINT = 2606, CAST = 2605, LANGUAGE = 2612, NAMESPACE = 2615, OPERATOR = 2617,
    REWRITE = 2618, TRIGGER = 2620, EXTENSION = 3079, POLICY = 3256, STATISTIC_EXT = 3381, COLLATION = 3456, DEFAULT_ACL = 826,
    AM = 2601, AMOP = 2602, AMPROC = 2603, CONVERSION = 2607, OPCLASS = 2616, OPFAMILY = 2753, TRANSFORM = 3576, EVENT_TRIGGER = 3466,
    TS_DICT = 3600, TS_PARSER = 3601, TS_CONFIG = 3602, TS_TEMPLATE = 3764, FDW = 2328, SERVER = 1417, USER_MAPPING = 1418,
    PUBLICATION = 6104, SUBSCRIPTION = 6100, LARGE_OBJECT = 2613,
}

impl CatalogTable {
    /// No catalog: the name of a type before the type itself, which its input function needs. See `plan::repair`.
    pub const TYPE_SHELL: Self = Self(0);
    /// No catalog: a few large objects that are made together, by the number of the first.
    pub const LARGE_OBJECTS: Self = Self(1);
}

/// One entry of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The catalog.
    pub catalog: CatalogTable,
    /// The OID in it.
    pub oid: u32,
}

impl ObjectId {
    /// The entry `oid` of `catalog`.
    pub const fn new(catalog: CatalogTable, oid: u32) -> Self {
        Self { catalog, oid }
    }

    /// A relation: table, index, view, sequence.
    pub const fn class(oid: u32) -> Self {
        Self::new(CatalogTable::CLASS, oid)
    }
}
