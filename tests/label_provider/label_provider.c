/*
 * A security label provider that takes every label. PostgreSQL brings none that a test could use, and most of the tests' servers come
 * without headers: so the little that a module needs of the server is declared here, for the version given as MAJOR.
 *
 * What the server compares when it loads a module is described in its src/include/fmgr.h (Pg_magic_struct).
 */
typedef void (*relabel_hook)(const void *object, const char *label);

extern void register_label_provider(const char *name, relabel_hook hook);

struct abi {
    int version;
    int function_arguments;
    int index_keys;
    int name_length;
#if MAJOR < 13
    int float4_by_value;
#endif
    int float8_by_value;
#if MAJOR >= 15
    char variant[32];
#endif
};

struct magic {
    int length;
    struct abi abi;
#if MAJOR >= 18
    const char *name;
    const char *version;
#endif
};

const struct magic *Pg_magic_func(void);
void _PG_init(void);

const struct magic *Pg_magic_func(void) {
    static const struct magic magic = {
        .length = sizeof(struct magic),
        .abi = {
            .version = MAJOR * 100,
            .function_arguments = 100,
            .index_keys = 32,
            .name_length = 64,
#if MAJOR < 13
            .float4_by_value = 1,
#endif
            .float8_by_value = 1,
#if MAJOR >= 15
            .variant = "PostgreSQL",
#endif
        },
    };
    return &magic;
}

static void takes_everything(const void *object, const char *label) {
    (void)object;
    (void)label;
}

void _PG_init(void) {
    register_label_provider("It's a \"provider\"", takes_everything);
    register_label_provider("plain", takes_everything);
}
