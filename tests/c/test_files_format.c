/* The files sink: how a record stands in a file. Envelopes, compression, what differs from topic to topic, and how many
 * files may be open.
 */
#include "files_rig.h"

#include "sinks/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static void close_all(sink_rig *rig, fake_disk *disk) {
    sink_rig_close(rig);
    fake_disk_deinit(disk);
}

#define TEXT(text) {(text), sizeof(text) - 1}

/* ---- the envelope ---- */

static bool headers(void *ctx, const kp_record *rec, size_t index, kp_bytes *name, kp_bytes *value) {
    static const struct {
        kp_bytes name;
        kp_bytes value;
    } all[] = {
        {TEXT("출처"), TEXT("앱 \"나\"\n")},
        {TEXT("출처"), {NULL, 0}},
        {TEXT("\xff"), TEXT("\x00\xff")},
        {TEXT("a"), TEXT("\xed\xa0\x80")}, /* a lone surrogate */
        {TEXT(""), TEXT("\xfe")},
        {TEXT("e"), {"", 0}},
    };
    (void)ctx;
    if (rec->offset > 0 || index >= sizeof all / sizeof *all) {
        return false;
    }
    *name = all[index].name;
    *value = all[index].value;
    return true;
}

static void test_an_envelope_around_the_untouched_value(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .records = 4, .envelope = true};
    files_rig_open(&rig, &disk, &rules);
    ((files_sink *)rig.sink)->env.header = headers;
    kp_batch *batch = sink_rig_batch(5);
    sink_rig_add(batch, 0, 0, "열쇠 \"1\"", "{\"n\":9007199254740993,\n\"f\":1e400}");
    sink_rig_add(batch, 0, 1, "\xff\xfe\x01", "[1]");
    sink_rig_add(batch, 0, 2, NULL, "no json");
    sink_rig_add(batch, 0, 3, NULL, NULL);
    sink_rig_add(batch, 0, 4, "", "\"끝\"");
    batch->records[4].timestamp_ms = -1;
    sink_rig_must_write(&rig, batch);
    assert_string_equal(sink_rig_verdicts(batch), "DDRDD");
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_file(
        &disk, "/d/0-0.log",
        "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":1767225600000,\"key\":\"열쇠 "
        "\\\"1\\\"\",\"headers\":["
        "{\"name\":\"출처\",\"value\":\"앱 \\\"나\\\"\\n\"},{\"name\":\"출처\",\"value\":null},"
        "{\"name_base64\":\"/w==\",\"value_base64\":\"AP8=\"},{\"name\":\"a\",\"value_base64\":\"7aCA\"},"
        "{\"name\":\"\",\"value_base64\":\"/g==\"},{\"name\":\"e\",\"value\":\"\"}],"
        "\"value\":{\"n\":9007199254740993, \"f\":1e400}}\n"
        "{\"topic\":\"t\",\"partition\":0,\"offset\":1,\"timestamp\":1767225600000,\"key_base64\":\"//"
        "4B\",\"headers\":[],"
        "\"value\":[1]}\n"
        "{\"topic\":\"t\",\"partition\":0,\"offset\":3,\"timestamp\":1767225600000,\"key\":null,\"headers\":[],"
        "\"value\":null}\n"
        "{\"topic\":\"t\",\"partition\":0,\"offset\":4,\"timestamp\":null,\"key\":\"\",\"headers\":[],"
        "\"value\":\"끝\"}\n");
    close_all(&rig, &disk);
}

/* ---- compression ---- */

enum { PLAIN_MAX = 1 << 20 };

static size_t gunzip(const fake_file *file, char *out) {
    z_stream z = {.next_in = (Bytef *)file->body, .avail_in = (uInt)file->length};
    z.next_out = (Bytef *)out;
    z.avail_out = PLAIN_MAX;
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0); /* one member, and nothing behind it */
    size_t length = z.total_out;
    inflateEnd(&z);
    return length;
}

static size_t unzstd(const fake_file *file, char *out) {
    size_t length = ZSTD_decompress(out, PLAIN_MAX, file->body, file->length);
    assert_false(ZSTD_isError(length));
    assert_int_equal(ZSTD_findFrameCompressedSize(file->body, file->length), file->length); /* one frame */
    return length;
}

/* Numbers that do not compress well, so that pieces leave before the end. */
static void write_noise(sink_rig *rig, int64_t from, size_t count, kp_buf *wanted) {
    static unsigned seed = 1;
    char value[512];
    kp_batch *batch = sink_rig_batch(count);
    for (int64_t offset = from; offset < from + (int64_t)count; offset++) {
        int length = snprintf(value, sizeof value, "{\"n\":%lld,\"텍\":\"", (long long)offset);
        for (int i = 0; i < 40; i++) {
            length += snprintf(value + length, sizeof value - (size_t)length, "%08lx", (unsigned long)rand_r(&seed));
        }
        snprintf(value + length, sizeof value - (size_t)length, "\"}");
        sink_rig_add(batch, 0, offset, NULL, value);
        assert_int_equal(kp_buf_printf(wanted, NULL, "%s\n", value), KP_OK);
    }
    sink_rig_must_write(rig, batch);
    assert_null(strpbrk(sink_rig_verdicts(batch), "PAR"));
    kp_batch_free(rig->back[--rig->back_count]);
}

static void compressed(const char *compression, size_t (*unpack)(const fake_file *, char *)) {
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    kp_buf wanted = {0};
    char *plain = malloc(PLAIN_MAX);
    const files_rules rules = {
        .path = "/d/{partition}-{offset}.log", .records = 1000, .stream_bytes = 20000, .compression = compression};
    files_rig_open(&rig, &disk, &rules);
    for (int64_t from = 0; from < 1000; from += 100) {
        write_noise(&rig, from, 100, &wanted);
        files_rig_settle(&rig);
        disk.fails[FAKE_PIECE] = from == 500;
        rig.ops->resume(rig.sink);
    }
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 1000);
    assert_true(disk.asked[FAKE_PIECE] > 1);
    const fake_file *file = fake_disk_find(&disk, "/d/0-0.log");
    assert_non_null(file);
    assert_true(file->length < wanted.length * 3 / 4);
    assert_int_equal(unpack(file, plain), wanted.length);
    assert_memory_equal(plain, wanted.data, wanted.length);
    kp_buf_deinit(&wanted);
    wanted = (kp_buf){0};
    write_noise(&rig, 1000, 1, &wanted); /* and a file of one line, closed by hand */
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(unpack(fake_disk_find(&disk, "/d/0-1000.log"), plain), wanted.length);
    kp_buf_deinit(&wanted);
    free(plain);
    close_all(&rig, &disk);
}

static void test_gzip(void **state) {
    (void)state;
    compressed("gzip", gunzip);
}

static void test_zstd(void **state) {
    (void)state;
    compressed("zstd", unzstd);
}

/* ---- per topic, and how many ---- */

static void begin_topic(sink_rig *rig, int32_t slot, const char *topic) {
    kp_error err;
    assert_int_equal(rig->ops->begin(rig->sink, slot, topic, 0, &err), KP_OK);
}

static void test_topics_may_have_rules_of_their_own(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {
        .path = "/d/{topic}/{partition}-{offset}.log",
        .records = 3,
        .overrides = "{\"색\":{\"path\":\"/colors/{partition}-{offset}.txt\",\"rotate_records\":0,\"rotate_bytes\":30,"
                     "\"rotate_age_ms\":0},\"late\":{\"path\":\"/d/late-{partition}-{offset}\",\"rotate_records\":0,"
                     "\"rotate_bytes\":0,\"rotate_age_ms\":500}}"};
    files_rig_open(&rig, &disk, &rules);
    begin_topic(&rig, 1, "색");
    begin_topic(&rig, 2, "late");
    fake_disk_put(&disk, "/colors/_tmp/g+%EC%83%89+0+0+x+1", "another name");
    fake_disk_put(&disk, "/colors/_tmp/g+색+0+0+x+1", "left by an earlier owner");
    rig.ops->clean(rig.sink, 1);
    for (int32_t slot = 0; slot < 3; slot++) {
        files_rig_write(&rig, slot, 0, 3, 1);
        files_rig_commit_all(&rig, slot, &group);
    }
    assert_non_null(fake_disk_find(&disk, "/d/t/0-0.log"));
    assert_non_null(fake_disk_find(&disk, "/colors/1-0.txt"));
    assert_int_equal(fake_disk_count(&disk, "/colors/_tmp/"), 1);
    assert_int_equal(fake_disk_count(&disk, "late"), 0);
    assert_true(rig.ops->next_ms(rig.sink) < INT64_MAX);
    rig.skew_ms = 500;
    files_rig_commit_all(&rig, 2, &group);
    assert_non_null(fake_disk_find(&disk, "/d/late-2-0"));
    close_all(&rig, &disk);
}

static void test_the_oldest_is_closed_when_too_many_are_open(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}/{field:c}-{offset}.log", .open_files = 3};
    files_rig_open(&rig, &disk, &rules);
    files_rig_begin(&rig, 1, 1);
    files_rig_write(&rig, 0, 0, 1, 1);
    rig.skew_ms = 10;
    files_rig_write(&rig, 1, 0, 2, 2);
    rig.skew_ms = 20;
    files_rig_write(&rig, 1, 2, 1, 3); /* a fourth file: partition 0 has the oldest */
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(disk.count, 1);
    assert_non_null(fake_disk_find(&disk, "/d/0/0-0.log"));
    files_rig_commit_all(&rig, 1, &group);
    assert_int_equal(disk.count, 1);
    close_all(&rig, &disk);
}

/* A million distinct values in a path must not be a million open files. */
static void test_a_path_that_differs_with_every_record(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{field:n}/{partition}-{offset}.log", .open_files = 20};
    files_rig_open(&rig, &disk, &rules);
    disk.hold = true;
    int64_t offset = 0;
    while (!files_is_full((files_sink *)rig.sink)) {
        files_rig_write(&rig, 0, offset, 100, 1);
        offset += 100;
        assert_true(offset < 6000);
        assert_in_range(((files_sink *)rig.sink)->open_files, 1, 20);
    }
    disk.hold = false;
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, offset);
    files_rig_assert_exactly_once(&disk, (size_t)offset);
    assert_false(files_is_full((files_sink *)rig.sink));
    close_all(&rig, &disk);
}

/* Whatever a record says, its file lies in one folder below the base. */
static void test_nothing_leaves_the_base(void **state) {
    (void)state;
    static const char *const values[] = {
        "..",     ".",       "/etc/passwd", "../../x", "%2f..%2f", "_tmp", "a\\u0000b", "a\\nb", "\\u001b[0m", "a b",
        "*?[]{}", "c:\\\\d", "\\ud55c/글",  ".hidden", "-rf",      "~",    "$(x)",      "'\\\"", "%",          "a,b",
    };
    char value[1200];
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/base/{field:c}/{partition}-{offset}.log"};
    files_rig_open(&rig, &disk, &rules);
    size_t count = sizeof values / sizeof *values;
    kp_batch *batch = sink_rig_batch(count + 1);
    for (size_t i = 0; i < count; i++) {
        snprintf(value, sizeof value, "{\"n\":%zu,\"c\":\"%s\"}", i, values[i]);
        sink_rig_add(batch, 0, (int64_t)i, NULL, value);
    }
    snprintf(value, sizeof value, "{\"n\":%zu,\"c\":\"%0300d\"}", count, 7);
    sink_rig_add(batch, 0, (int64_t)count, NULL, value);
    sink_rig_must_write(&rig, batch);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(batch->verdicts[i].outcome, KP_DELIVERED);
    }
    assert_int_equal(batch->verdicts[count].outcome, KP_REJECTED); /* 300 bytes */
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, (int64_t)count);
    assert_int_equal(disk.count, count);
    for (size_t i = 0; i < count; i++) {
        const char *path = disk.files[i].path;
        assert_memory_equal(path, "/base/", 6);
        const char *slash = strchr(path + 6, '/');
        assert_non_null(slash);
        assert_null(strchr(slash + 1, '/')); /* one folder, and the file */
        assert_true(path[6] != '.' && path[6] != '_');
        for (const char *at = path; *at; at++) {
            assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
        }
        kp_error err;
        assert_int_equal(kp_store_check_path(path, "test", &err), KP_OK);
    }
    close_all(&rig, &disk);
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const compressions[] = {"none", "gzip", "zstd"};
    for (size_t i = 0; i < 3; i++) {
        fake_disk disk = {0};
        files_group group = {0};
        sink_rig rig;
        const files_rules rules = {.path = "/d/{field:c}/{partition}-{offset}.log",
                                   .compression = compressions[i],
                                   .stream_bytes = 30,
                                   .records = 5,
                                   .envelope = true};
        files_rig_open(&rig, &disk, &rules);
        int64_t offset = 0;
        for (int n = 1; n < 200; n++) {
            char value[64];
            kp_batch *batch = sink_rig_batch(1);
            snprintf(value, sizeof value, "{\"n\":%lld,\"c\":%lld}", (long long)offset, (long long)offset % 3);
            sink_rig_add(batch, 0, offset, "열쇠", value);
            kp_error err;
            kp_mem_fail_at(n % 30 + 1);
            kp_status st = sink_rig_write(&rig, batch, &err);
            kp_mem_fail_at(0);
            assert_int_equal(st, KP_OK);
            assert_true(batch->verdicts[0].outcome == KP_DELIVERED || batch->verdicts[0].outcome == KP_AGAIN);
            offset += batch->verdicts[0].outcome == KP_DELIVERED;
            kp_batch_free(rig.back[--rig.back_count]);
            files_rig_settle(&rig);
            rig.ops->resume(rig.sink);
        }
        assert_true(offset > 10);
        rig.ops->seal(rig.sink, 0);
        files_rig_commit_all(&rig, 0, &group);
        assert_int_equal(group.committed, offset);
        close_all(&rig, &disk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_an_envelope_around_the_untouched_value),
        KP_TEST(test_gzip),
        KP_TEST(test_zstd),
        KP_TEST(test_topics_may_have_rules_of_their_own),
        KP_TEST(test_the_oldest_is_closed_when_too_many_are_open),
        KP_TEST(test_a_path_that_differs_with_every_record),
        KP_TEST(test_nothing_leaves_the_base),
        KP_TEST(test_every_allocation_may_fail),
    };
    return kp_test_run(tests);
}
