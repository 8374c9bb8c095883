/* The store on local disk: files and names are there, nothing is ever replaced, every failure has its disposition.
 * fsync, renameat2 and the disk itself can be made to fail.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "kp_test.h"

#include "stores/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool disk_is_broken;
static bool kernel_is_old;

/* These two take the place of the C library's in this program. */
int fsync(int fd) {
    if (disk_is_broken) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

#ifdef __linux__
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    if (kernel_is_old) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}
#endif

typedef struct {
    size_t done;
    kp_store_outcome outcome;
    kp_error err;
    int64_t length;
    bool is_folder;
    char text[4096]; /* content, or the names with a '|' behind each */
} seen;

static char base[64];
static kp_store *store;

static int setup(void **state) {
    kp_test_setup(state);
    disk_is_broken = kernel_is_old = false;
    snprintf(base, sizeof base, "/tmp/kp_local_XXXXXX");
    return mkdtemp(base) && kp_store_find("file")->open(&store, NULL, NULL, NULL) == KP_OK ? 0 : -1;
}

static int teardown(void **state) {
    assert_int_equal(seteuid(getuid()), 0);
    char command[256];
    store->ops->close(store);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    return kp_test_teardown(state) | (system(command) != 0);
}

static const char *at(const char *name) {
    static char paths[4][512];
    static size_t turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void on_done(void *ctx, const kp_store_result *result) {
    seen *out = ctx;
    out->done++;
    out->outcome = result->outcome;
    out->err = result->err;
    out->length = result->length;
    out->is_folder = result->is_folder;
    size_t used = 0;
    for (size_t i = 0; i < result->name_count; i++) {
        used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s|", result->names[i]);
    }
    if (result->content.data) {
        snprintf(out->text, sizeof out->text, "%.*s", (int)result->content.length, result->content.data);
    }
}

static seen finish(kp_status started, seen *out) {
    assert_int_equal(started, KP_OK);
    assert_int_equal(out->done, 0); /* never from within the call */
    assert_int_equal(store->ops->pump(store, NULL), KP_OK);
    assert_int_equal(out->done, 1);
    return *out;
}

static seen put(const char *path, const char *text) {
    seen out = {0};
    return finish(store->ops->put(store, path, kp_bytes_of(text), on_done, &out, NULL), &out);
}

static seen move(const char *from, const char *to) {
    seen out = {0};
    return finish(store->ops->rename(store, from, to, on_done, &out, NULL), &out);
}

static seen look(const char *path) {
    seen out = {0};
    return finish(store->ops->status(store, path, on_done, &out, NULL), &out);
}

static seen list(const char *path) {
    seen out = {0};
    return finish(store->ops->list(store, path, on_done, &out, NULL), &out);
}

static seen drop(const char *path) {
    seen out = {0};
    return finish(store->ops->remove(store, path, on_done, &out, NULL), &out);
}

static seen get(const char *path) {
    seen out = {0};
    return finish(store->ops->read(store, path, on_done, &out, NULL), &out);
}

static void assert_failed(seen out, kp_status status, const char *code) {
    assert_int_equal(out.outcome, KP_STORE_FAILED);
    assert_int_equal(out.err.status, status);
    assert_string_equal(out.err.code, code);
}

static void test_write_rename_read_remove(void **state) {
    (void)state;
    seen out = put(at("_tmp/홍 \"x\"\n1"), "한 줄\n");
    assert_int_equal(out.outcome, KP_STORE_DONE);
    assert_int_equal(out.length, 8);
    assert_string_equal(list(at("_tmp/")).text, "홍 \"x\"\n1|");
    assert_int_equal(move(at("_tmp/홍 \"x\"\n1"), at("data/2026/01/홍.log")).outcome, KP_STORE_DONE);
    assert_string_equal(get(at("data/2026/01/홍.log")).text, "한 줄\n");
    assert_int_equal(look(at("data/2026/01/홍.log")).length, 8);
    assert_true(look(at("data")).is_folder);
    assert_string_equal(list(at("_tmp")).text, "");
    assert_int_equal(drop(at("data/2026/01/홍.log")).outcome, KP_STORE_DONE);
    assert_int_equal(drop(at("data/2026/01/홍.log")).outcome, KP_STORE_MISSING);
    assert_int_equal(look(at("data/2026/01/홍.log")).outcome, KP_STORE_MISSING);
    assert_int_equal(get(at("data/none")).outcome, KP_STORE_MISSING);
    assert_int_equal(list(at("none")).outcome, KP_STORE_MISSING);
    assert_int_equal(put(at("empty"), "").length, 0);
    assert_string_equal(get(at("empty")).text, "");
}

static void test_put_replaces_what_an_earlier_try_left(void **state) {
    (void)state;
    put(at("t"), "a longer first try");
    assert_int_equal(put(at("t"), "second").length, 6);
    assert_string_equal(get(at("t")).text, "second");
}

static void assert_rename_never_replaces(void) {
    put(at("temp"), "new");
    put(at("taken"), "old");
    put(at("folder/inside"), "x");
    assert_int_equal(move(at("temp"), at("taken")).outcome, KP_STORE_EXISTS);
    assert_int_equal(move(at("temp"), at("folder")).outcome, KP_STORE_EXISTS);
    assert_string_equal(get(at("taken")).text, "old");
    assert_string_equal(list(at("folder")).text, "inside|");
    assert_string_equal(get(at("temp")).text, "new");
    assert_int_equal(move(at("none"), at("nowhere/x")).outcome, KP_STORE_MISSING);
    assert_int_equal(look(at("nowhere")).outcome, KP_STORE_MISSING); /* no folder is made for nothing */
    assert_int_equal(move(at("none"), at("taken")).outcome, KP_STORE_EXISTS);
    assert_int_equal(move(at("temp"), at("a/b/final")).outcome, KP_STORE_DONE);
    assert_int_equal(look(at("temp")).outcome, KP_STORE_MISSING);
    assert_string_equal(get(at("a/b/final")).text, "new");
}

static void test_rename_never_replaces(void **state) {
    (void)state;
    assert_rename_never_replaces();
}

static void test_rename_never_replaces_where_the_kernel_does_not_help(void **state) {
    (void)state;
    kernel_is_old = true;
    assert_rename_never_replaces();
}

static void test_rename_that_was_cut_off_between_its_two_names_is_finished(void **state) {
    (void)state;
    kernel_is_old = true;
    put(at("temp"), "x");
    assert_int_equal(link(at("temp"), at("final")), 0);
    assert_int_equal(move(at("temp"), at("final")).outcome, KP_STORE_DONE);
    assert_int_equal(look(at("temp")).outcome, KP_STORE_MISSING);
    assert_string_equal(get(at("final")).text, "x");
}

static void test_illegal_paths_start_nothing(void **state) {
    (void)state;
    static const char *const bad[] = {"", "relative", "/a//b", "/a/../b", "/a/.", "/..", "/a/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_error err;
        if (store->ops->put(store, bad[i], kp_bytes_of("x"), on_done, NULL, &err) != KP_REJECT) {
            fail_msg("%s was taken", bad[i]);
        }
        assert_int_equal(store->ops->rename(store, "/tmp/x", bad[i], on_done, NULL, &err), KP_REJECT);
        assert_int_equal(store->ops->rename(store, bad[i], "/tmp/x", on_done, NULL, &err), KP_REJECT);
    }
    char name[400];
    memset(name, 'n', sizeof name);
    name[300] = '\0';
    assert_failed(put(at(name), "x"), KP_REJECT, "ENAMETOOLONG");
}

static void test_what_an_operator_can_heal_is_tried_again(void **state) {
    (void)state;
    assert_int_equal(symlink("/dev/full", at("full")), 0);
    assert_failed(put(at("full"), "x"), KP_RETRY, "ENOSPC");
    put(at("file"), "x");
    assert_failed(put(at("file/below"), "x"), KP_RETRY, "ENOTDIR");
    put(at("folder/x"), "x");
    assert_failed(put(at("folder"), "x"), KP_RETRY, "EISDIR");
    disk_is_broken = true;
    seen out = put(at("temp"), "x");
    assert_failed(out, KP_RETRY, "EIO");
    assert_non_null(strstr(out.err.message, "file put /tmp/kp_local_"));
    assert_failed(move(at("file"), at("moved")), KP_RETRY, "EIO"); /* not durable: not done */
}

static void test_folder_without_permission(void **state) {
    (void)state;
    if (geteuid() == 0) { /* root may write anywhere */
        assert_int_equal(chmod(base, 0777) | seteuid(65534), 0);
    }
    put(at("locked/x"), "x");
    put(at("temp"), "x");
    assert_int_equal(chmod(at("locked"), 0555), 0);
    assert_failed(put(at("locked/y"), "y"), KP_RETRY, "EACCES");
    assert_failed(move(at("temp"), at("locked/y")), KP_RETRY, "EACCES");
    assert_failed(drop(at("locked/x")), KP_RETRY, "EACCES");
    assert_int_equal(chmod(at("locked"), 0755), 0);
    assert_int_equal(put(at("locked/y"), "y").outcome, KP_STORE_DONE);
}

static void test_close_ends_what_waits(void **state) {
    (void)state;
    seen out = {0};
    assert_int_equal(store->ops->put(store, at("t"), kp_bytes_of("x"), on_done, &out, NULL), KP_OK);
    assert_int_equal(store->ops->list(store, base, on_done, &out, NULL), KP_OK);
    store->ops->close(store);
    assert_int_equal(out.done, 2);
    assert_failed(out, KP_CLOSED, "");
    kp_store_local.close(NULL);
    assert_int_equal(kp_store_local.open(&store, NULL, NULL, NULL), KP_OK);
}

/* Every operation with the n-th allocation failing: a clean answer, and later the true one. */
static bool round_with_failure(int64_t n) {
    seen out[6] = {{0}};
    kp_store_local.put(store, at("keep"), kp_bytes_of("x"), on_done, &out[0], NULL);
    store->ops->pump(store, NULL);
    out[0] = (seen){0};
    kp_mem_fail_at(n);
    kp_status st[6];
    st[0] = store->ops->put(store, at("deep/er/temp"), kp_bytes_of("x"), on_done, &out[0], NULL);
    st[1] = store->ops->rename(store, at("deep/er/temp"), at("other/final"), on_done, &out[1], NULL);
    st[2] = store->ops->status(store, at("keep"), on_done, &out[2], NULL);
    st[3] = store->ops->list(store, at("deep"), on_done, &out[3], NULL);
    st[4] = store->ops->read(store, at("keep"), on_done, &out[4], NULL);
    st[5] = store->ops->remove(store, at("keep"), on_done, &out[5], NULL);
    kp_mem_fail_at(0);
    store->ops->pump(store, NULL);
    bool failed = false;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(out[i].done, st[i] == KP_OK);
        failed = failed || st[i] != KP_OK || out[i].outcome == KP_STORE_FAILED;
    }
    return failed;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    int64_t n = 1;
    while (round_with_failure(n)) {
        char command[256];
        snprintf(command, sizeof command, "rm -rf %s/*", base);
        assert_int_equal(system(command), 0);
        n++;
    }
    assert_in_range(n, 12, 60);
}

#define LOCAL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static seen put_piece(const char *path, int64_t from, const char *text) {
    seen out = {0};
    return finish(store->ops->put_piece(store, path, from, kp_bytes_of(text), on_done, &out, NULL), &out);
}

static seen join(const char *path, int64_t length) {
    static const int64_t starts[] = {0, 7};
    seen out = {0};
    return finish(store->ops->join(store, path, starts, 2, length, on_done, &out, NULL), &out);
}

static void test_pieces_become_one_file(void **state) {
    (void)state;
    assert_int_equal(put_piece(at("_tmp/large"), 0, "한 줄").outcome, KP_STORE_DONE);
    assert_int_equal(put_piece(at("_tmp/large"), 7, "xx").outcome, KP_STORE_DONE);
    assert_int_equal(put_piece(at("_tmp/large"), 7, "22").outcome, KP_STORE_DONE); /* again, as after a lost answer */
    assert_int_equal(join(at("_tmp/large"), 9).outcome, KP_STORE_DONE);
    assert_int_equal(join(at("_tmp/large"), 9).outcome, KP_STORE_DONE);
    assert_string_equal(get(at("_tmp/large")).text, "한 줄22");
    assert_int_equal(join(at("_tmp/large"), 10).outcome, KP_STORE_MISSING);
    disk_is_broken = true;
    assert_int_equal(put_piece(at("_tmp/large"), 0, "한 줄").outcome, KP_STORE_FAILED);
    disk_is_broken = false;
    assert_int_equal(drop(at("_tmp/large")).outcome, KP_STORE_DONE);
    assert_int_equal(put_piece(at("_tmp/large"), 7, "22").outcome, KP_STORE_MISSING); /* and no file with a hole */
    assert_int_equal(join(at("_tmp/large"), 9).outcome, KP_STORE_MISSING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(test_pieces_become_one_file),
        LOCAL_TEST(test_write_rename_read_remove),
        LOCAL_TEST(test_put_replaces_what_an_earlier_try_left),
        LOCAL_TEST(test_rename_never_replaces),
        LOCAL_TEST(test_rename_never_replaces_where_the_kernel_does_not_help),
        LOCAL_TEST(test_rename_that_was_cut_off_between_its_two_names_is_finished),
        LOCAL_TEST(test_illegal_paths_start_nothing),
        LOCAL_TEST(test_what_an_operator_can_heal_is_tried_again),
        LOCAL_TEST(test_folder_without_permission),
        LOCAL_TEST(test_close_ends_what_waits),
        LOCAL_TEST(test_every_allocation_may_fail),
    };
    return kp_test_run(tests);
}
