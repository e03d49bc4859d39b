/* Counts the instructions that a program executes, by block; QEMU's user mode loads it: -plugin libcount.so,out=FILE.
 * FILE gets a line for each translated block: its address, how many instructions it has, how often it ran. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* No Debian package has qemu-plugin.h, so what is used of its first version stands here. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum { ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;

struct block {
    uint64_t address, size, runs;
    struct block *next;
};

static struct block *blocks;
static FILE *out;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    struct block *one = calloc(1, sizeof *one);

    (void)id;
    if (!one)
        abort();
    one->address = qemu_plugin_tb_vaddr(tb);
    one->size = qemu_plugin_tb_n_insns(tb);
    one->next = blocks;
    blocks = one;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &one->runs, 1);
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    for (struct block *one = blocks; one; one = one->next)
        if (one->runs)
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", one->address, one->size, one->runs);
    fclose(out);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    out = argc == 1 ? fopen(argv[0] + 4, "w") : NULL; /* behind "out=" */
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
