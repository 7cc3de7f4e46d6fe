/*
 * Tests of the load generator, and of disks under its load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/sysmacros.h>
#include "qemu/cutils.h"
#include "vq-load/load.h"
#include "vq-load/output.h"

typedef struct LoadCase {
    const char *name;
    const char *options;    /* as on vq-load's command line */
} LoadCase;

static void test_histogram(void)
{
    g_autofree VqHistogram *h = g_new0(VqHistogram, 1);
    g_autofree VqHistogram *sum = g_new0(VqHistogram, 1);
    static const uint64_t values[] = {
        1, 255, 256, 257, 1000000, 1ull << 40, UINT64_MAX
    };

    g_assert_cmpuint(vq_histogram_percentile(h, 50), ==, 0);
    for (unsigned i = 1; i <= 200; i++) {
        vq_histogram_add(h, i);
    }
    g_assert_cmpuint(vq_histogram_percentile(h, 50), ==, 100);
    g_assert_cmpuint(vq_histogram_percentile(h, 99), ==, 198);
    g_assert_cmpuint(vq_histogram_percentile(h, 99.9), ==, 200);
    g_assert_cmpuint(h->sum, ==, 20100);

    /* Every value is in a bucket that does not exaggerate it by 1 % */
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        uint64_t p;

        memset(h, 0, sizeof(*h));
        vq_histogram_add(h, values[i]);
        h->max = UINT64_MAX;
        p = vq_histogram_percentile(h, 100);
        g_assert_cmpuint(p, >=, values[i]);
        g_assert_cmpuint(p - values[i], <=, values[i] / 100);
        h->max = values[i];
        vq_histogram_merge(sum, h);
    }
    g_assert_cmpuint(sum->count, ==, ARRAY_SIZE(values));
    g_assert_cmpuint(vq_histogram_percentile(sum, 50), >=, 257);
    g_assert_cmpuint(vq_histogram_percentile(sum, 50), <=, 260);
    g_assert_cmpuint(vq_histogram_percentile(sum, 100), ==, UINT64_MAX);
}

/* Begin and end a read of @block that returns @data */
static char *model_read(VqLoadModel *model, uint64_t block, const void *data)
{
    uint64_t poisoned[512];

    vq_load_model_begin(model, VQ_LOAD_READ, block, poisoned);
    g_assert_true(vq_load_model_is_busy(model, block));
    return vq_load_model_end(model, VQ_LOAD_READ, block, data ?: poisoned);
}

/* The model tells right data from data of another write, block or place */
static void test_model(void)
{
    uint64_t first[512], second[512], zeroes[512] = { 0 };
    VqLoadModel *model = vq_load_model_new(7, 16, sizeof(first), true);
    g_autofree char *nothing = model_read(model, 3, NULL);
    g_autofree char *old = NULL, *other = NULL, *part = NULL;

    g_assert_nonnull(nothing);
    g_assert_false(vq_load_model_is_busy(model, 3));
    g_assert_null(model_read(model, 3, zeroes));

    vq_load_model_begin(model, VQ_LOAD_WRITE, 3, first);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE, 3, first));
    vq_load_model_begin(model, VQ_LOAD_WRITE, 3, second);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE, 3, second));
    g_assert_null(model_read(model, 3, second));
    old = model_read(model, 3, first);
    g_assert_nonnull(old);
    other = model_read(model, 4, second);
    g_assert_nonnull(other);
    second[300]++;
    part = model_read(model, 3, second);
    g_assert_true(g_str_has_prefix(part, "byte 2400 and on is 0x"));

    vq_load_model_begin(model, VQ_LOAD_WRITE_ZEROES, 3, NULL);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE_ZEROES, 3, NULL));
    g_assert_null(model_read(model, 3, zeroes));
    vq_load_model_free(model);
}

static VqLoadConfig parse(const char *options)
{
    g_autofree char *line =
        g_strdup_printf("--qemu %s --backend raw --aio threads "
                        "--dir %s --disk-size 8388608 --queues 4 "
                        "--iothreads 2 --depth 8 --verify --requests 500 "
                        "--stall 60 --mix read=10,write=10,flush=1,"
                        "discard=1,write-zeroes=1 %s",
                        g_getenv("QTEST_QEMU_BINARY"), g_get_tmp_dir(),
                        options);

    return vq_load_config_parse_line(line);
}

static VqLoad *start_load(const VqLoadConfig *config)
{
    g_autofree char *error = NULL;
    VqLoad *load = vq_load_new(config, &error);

    g_assert_cmpstr(error, ==, NULL);
    vq_load_start(load);
    vq_load_count(load);
    return load;
}

/* Returns: NULL, or what went wrong */
static char *wait_for_load(VqLoad *load)
{
    for (unsigned i = 0; !vq_load_is_over(load); i++) {
        g_assert_cmpuint(i, <, 100 * 1000);
        g_usleep(1000);
    }
    return vq_load_stop(load);
}

static void test_load(const void *opaque)
{
    const LoadCase *c = opaque;
    VqLoadConfig config = parse(c->options);
    VqLoad *load = start_load(&config);

    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    for (unsigned i = 0; i < config.queues; i++) {
        const VqLoadStats *stats = vq_load_stats(load, i);

        g_assert_cmpuint(stats->requests, >=, config.requests);
        g_assert_cmpuint(stats->requests, ==, stats->latency.count);
        g_assert_cmpuint(stats->failed, ==, 0);
    }
    vq_load_free(load);
}

static const LoadCase load_cases[] = {
    { "split/indirect", "" },
    { "split/direct", "--no-indirect --segments 2" },
    { "split/no-event-idx", "--no-event-idx" },
    { "split/msix", "--msix" },
    { "packed/indirect", "--packed" },
    { "packed/direct", "--packed --no-indirect --segments 2" },
    { "packed/no-event-idx", "--packed --no-event-idx --msix" },
    { "packed/msix", "--packed --msix" },
    { "legacy/indirect", "--legacy" },
    { "legacy/msix", "--legacy --msix --no-indirect" },
    { "q35", "--machine q35" },
    { "qtest-kicks", "--qtest-kicks" },
    { "main-loop", "--iothreads 0" },
    { "no-polling", "--poll-max-ns 0" },
    { "sequential/merged", "--pattern sequential --mix read=1,write=1" },
    { "sequential/unmerged",
      "--pattern sequential --mix read=1,write=1 --merge off" },
    { "large", "--block-size 65536 --segments 16" },
    { "wave", "--wave --threads 2" },
    { "depth-1", "--depth 1" },
    { "hot", "--hot 1,3 --cold-ns 10000" },
    { "io_uring", "--aio io_uring" },
    { "buffered", "--aio io_uring --buffered" },
    { "null-co", "--backend null-co" },
    { "latency", "--backend null-co --latency-ns 100000" },
};

static void test_consumer(void)
{
    VqLoadConfig config = parse("");
    VqLoad *load;

    config.qemu = NULL;
    config.verify = false;
    load = start_load(&config);
    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    vq_load_free(load);
}

/* Data that somebody else has changed is found out */
static void test_wrong_data(void)
{
    VqLoadConfig config = parse("--requests 0 --mix read=1,write=1");
    VqLoad *load = start_load(&config);
    const char *image = vq_load_guest(load)->image;
    g_autofree char *error = NULL;

    /* Until something that was written is read again */
    while (!vq_load_is_over(load)) {
        g_assert_cmpint(truncate(image, 0), ==, 0);
        g_assert_cmpint(truncate(image, config.disk_size), ==, 0);
        g_usleep(1000);
    }
    error = wait_for_load(load);
    g_assert_nonnull(strstr(error, "(read of 4096 bytes at sector "));
    g_assert_nonnull(strstr(error, "is 0x0000000000000000 instead of 0x"));
    vq_load_free(load);
}

/* A request that is not served is named, and in bounded time */
static void test_stall(void)
{
    VqLoadConfig config = parse("--requests 0 --stall 0.2");
    VqLoad *load = start_load(&config);
    g_autofree char *error = NULL;

    g_usleep(50 * 1000);
    qtest_qmp_assert_success(vq_load_guest(load)->qts, "{'execute': 'stop'}");
    error = wait_for_load(load);
    g_assert_true(g_str_has_prefix(error, "virtqueue "));
    g_assert_nonnull(strstr(error, ": not completed after "));
    vq_load_free(load);
}

/* Kicks go to the right virtqueue, and interrupts come from it */
static void test_counts(void)
{
    VqLoadConfig config = parse("--msix --poll-max-ns 0 --depth 1");
    VqLoad *load = start_load(&config);

    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    for (unsigned i = 0; i < config.queues; i++) {
        const VqLoadStats *stats = vq_load_stats(load, i);

        g_assert_cmpint(vq_load_guest(load)->queues[i].notifier, >=, 0);
        /* Nobody polls, so that almost each request needs one of each */
        g_assert_cmpuint(stats->kicks, >, config.requests / 2);
        g_assert_cmpuint(stats->interrupts, >, config.requests / 10);
    }
    vq_load_free(load);
}

/* Folder @dir has @entries, and nothing besides */
static void assert_entries(const char *dir, const char *entries)
{
    g_auto(GStrv) wanted = g_strsplit(entries, " ", -1);
    g_autoptr(GDir) folder = g_dir_open(dir, 0, NULL);
    const char *name;
    unsigned n = 0;

    while ((name = g_dir_read_name(folder))) {
        g_assert_true(g_strv_contains((const char *const *)wanted, name));
        n++;
    }
    g_assert_cmpuint(n, ==, g_strv_length(wanted));
}

static void assert_content(const char *path, const char *content)
{
    g_autofree char *found = NULL;

    g_assert_true(g_file_get_contents(path, &found, NULL, NULL));
    g_assert_cmpstr(found, ==, content);
}

static void assert_written(const char *path, const char *text)
{
    g_assert_cmpstr(vq_output_check(path), ==, NULL);
    g_assert_cmpstr(vq_output_write(path, text), ==, NULL);
}

static void assert_refused(const char *path, const char *why)
{
    g_autofree char *wanted = g_strdup_printf("cannot write %s: %s", path, why);
    g_autofree char *checked = vq_output_check(path);
    g_autofree char *written = vq_output_write(path, "text");

    g_assert_cmpstr(checked, ==, wanted);
    g_assert_cmpstr(written, ==, wanted);
}

/* A regular file is replaced, whole or not at all */
static void test_output_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("vq-output.XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    g_autofree char *dangling = g_build_filename(dir, "dangling", NULL);
    g_autofree char *new = g_build_filename(dir, "new", NULL);
    struct stat st;

    g_assert_cmpstr(vq_output_check(file), ==, NULL);
    g_assert_cmpint(access(file, F_OK), <, 0);
    assert_written(file, "long text");
    assert_entries(dir, "file");
    g_assert_cmpint(chmod(file, 0640), ==, 0);
    assert_written(file, "text");
    assert_content(file, "text");
    g_assert_cmpint(stat(file, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 0777, ==, 0640);

    /* A link stays, and what it points at is written */
    g_assert_cmpint(symlink("file", link), ==, 0);
    assert_written(link, "linked");
    assert_content(file, "linked");
    g_assert_cmpint(symlink(new, dangling), ==, 0);
    assert_written(dangling, "new");
    assert_content(new, "new");
    assert_entries(dir, "file link dangling new");
    g_assert_cmpint(lstat(link, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));
    g_assert_cmpint(lstat(dangling, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));

    g_unlink(link);
    g_unlink(dangling);
    g_unlink(new);
    g_unlink(file);
    g_rmdir(dir);
}

/* The reader of a FIFO or a pipe gets it */
static void test_output_pipe(void)
{
    g_autofree char *dir = g_dir_make_tmp("vq-output.XXXXXX", NULL);
    g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autofree char *number = NULL, *opened = NULL;
    char text[8] = "";
    struct stat st;
    int fds[2];
    int fd;

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    fd = open(fifo, O_RDWR | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    assert_written(fifo, "text");
    g_assert_cmpint(read(fd, text, sizeof(text)), ==, 4);
    g_assert_cmpstr(text, ==, "text");
    g_assert_cmpint(lstat(fifo, &st), ==, 0);
    g_assert_true(S_ISFIFO(st.st_mode));
    close(fd);

    g_assert_cmpint(pipe(fds), ==, 0);
    number = g_strdup_printf("/dev/fd/%d", fds[1]);
    assert_written(number, "pipe");
    g_assert_cmpint(read(fds[0], text, sizeof(text)), ==, 4);
    g_assert_cmpstr(text, ==, "pipe");
    close(fds[0]);
    close(fds[1]);

    /* Nor is a file replaced that is known by its descriptor */
    fd = open(file, O_RDWR | O_CREAT, 0600);
    g_assert_cmpint(write(fd, "one ", 4), ==, 4);
    opened = g_strdup_printf("/dev/fd/%d", fd);
    assert_written(opened, "two");
    g_assert_cmpint(pread(fd, text, sizeof(text), 0), ==, 7);
    g_assert_cmpstr(text, ==, "one two");
    close(fd);

    assert_entries(dir, "fifo file");
    g_unlink(file);
    g_unlink(fifo);
    g_rmdir(dir);
}

/* A device is written to and stays, as root too */
static void test_output_device(void)
{
    g_autofree char *dir = g_dir_make_tmp("vq-output.XXXXXX", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    g_autofree char *node = g_build_filename(dir, "node", NULL);
    struct stat st;

    g_assert_cmpint(symlink("/dev/null", link), ==, 0);
    assert_written(link, "text");
    g_assert_cmpint(lstat(link, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));
    g_assert_cmpint(stat(link, &st), ==, 0);
    g_assert_true(S_ISCHR(st.st_mode));

    /* One of our own, if that is allowed, and may be opened here */
    if (mknod(node, S_IFCHR | 0666, makedev(1, 3)) == 0) {
        int fd = open(node, O_WRONLY);

        if (fd >= 0) {
            close(fd);
            assert_written(node, "text");
        }
        g_assert_cmpint(lstat(node, &st), ==, 0);
        g_assert_true(S_ISCHR(st.st_mode));
        g_unlink(node);
    }
    assert_entries(dir, "link");
    g_unlink(link);
    g_rmdir(dir);
}

/* What is neither is left alone */
static void test_output_refused(void)
{
    g_autofree char *dir = g_dir_make_tmp("vq-output.XXXXXX", NULL);
    g_autofree char *loop = g_build_filename(dir, "loop", NULL);
    g_autofree char *missing = g_build_filename(dir, "missing", "file", NULL);
    g_autofree char *locked = g_build_filename(dir, "locked", NULL);
    g_autofree char *file = g_build_filename(locked, "file", NULL);
    g_autofree char *sock = g_build_filename(dir, "sock", NULL);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    uid_t uid = geteuid();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_refused(dir, "Is a directory");
    assert_refused("", "No such file or directory");
    assert_refused(missing, "No such file or directory");
    g_assert_cmpint(symlink("loop", loop), ==, 0);
    assert_refused(loop, "Too many levels of symbolic links");
    g_assert_cmpuint(strlen(sock), <, sizeof(addr.sun_path));
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), sock);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    assert_refused(sock, "it is no regular file");
    close(fd);

    /* Root may write everywhere */
    g_assert_cmpint(g_mkdir(locked, 0755), ==, 0);
    g_assert_true(g_file_set_contents(file, "kept", -1, NULL));
    g_assert_cmpint(chmod(locked, 0555), ==, 0);
    g_assert_cmpint(chmod(dir, 0755), ==, 0);
    g_assert_cmpint(chmod(file, 0666), ==, 0);
    g_assert_cmpint(seteuid(uid ?: 65534), ==, 0);
    assert_refused(file, "Permission denied");
    g_assert_cmpint(seteuid(uid), ==, 0);
    assert_content(file, "kept");
    assert_entries(locked, "file");
    assert_entries(dir, "loop locked sock");

    chmod(locked, 0755);
    g_unlink(file);
    g_rmdir(locked);
    g_unlink(loop);
    g_unlink(sock);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("vq-load/histogram", test_histogram);
    qtest_add_func("vq-load/model", test_model);
    for (unsigned i = 0; i < ARRAY_SIZE(load_cases); i++) {
        g_autofree char *path = g_strdup_printf("vq-load/%s",
                                                load_cases[i].name);

        qtest_add_data_func(path, &load_cases[i], test_load);
    }
    qtest_add_func("vq-load/consumer", test_consumer);
    qtest_add_func("vq-load/wrong-data", test_wrong_data);
    qtest_add_func("vq-load/stall", test_stall);
    qtest_add_func("vq-load/counts", test_counts);
    qtest_add_func("vq-load/output/file", test_output_file);
    qtest_add_func("vq-load/output/pipe", test_output_pipe);
    qtest_add_func("vq-load/output/device", test_output_device);
    qtest_add_func("vq-load/output/refused", test_output_refused);
    return g_test_run();
}
