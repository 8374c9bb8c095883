/* The files sink with files that are larger than a piece: bytes leave while records arrive, what breaks off is sent
 * again from memory, and memory does not grow with the file.
 */
#include "files_rig.h"

#include "sinks/files.h"

#include <stdio.h>
#include <stdlib.h>

/* Lines have 14 bytes for n below 10, 15 below 100, and so on: a piece is cut at the first line that makes it 60. */
static const files_rules streaming = {.path = "/d/{partition}-{offset}-{end}.log", .records = 100, .stream_bytes = 60};

static void close_all(sink_rig *rig, fake_disk *disk) {
    sink_rig_close(rig);
    fake_disk_deinit(disk);
}

static void test_pieces_leave_while_the_file_grows(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &streaming);
    for (int64_t from = 0; from < 90; from += 10) {
        files_rig_write(&rig, 0, from, 10, 1);
        files_rig_settle(&rig);
        assert_true(rig.ops->held_bytes(rig.sink) < 75); /* a piece and a line */
    }
    assert_int_equal(disk.asked[FAKE_PUT], 0);
    assert_true(disk.asked[FAKE_PIECE] >= 18);
    assert_false(files_rig_intend(&rig, 0, INT64_MAX, &group));
    files_rig_write(&rig, 0, 90, 10, 1); /* the last one closes it */
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 100);
    assert_int_equal(disk.asked[FAKE_JOIN], 1);
    assert_int_equal(disk.count, 1);
    assert_non_null(fake_disk_find(&disk, "/d/0-0-100.log"));
    files_rig_assert_exactly_once(&disk, 100);
    assert_int_equal(rig.ops->held_bytes(rig.sink), 0);
    close_all(&rig, &disk);
}

static void test_a_small_file_is_one_request(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &streaming);
    files_rig_write(&rig, 0, 0, 4, 1);
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(disk.asked[FAKE_PUT], 1);
    assert_int_equal(disk.asked[FAKE_PIECE] + disk.asked[FAKE_JOIN], 0);
    files_rig_assert_exactly_once(&disk, 4);
    close_all(&rig, &disk);
}

/* Cut exactly where it is sealed: one piece, which needs no joining. */
static void test_one_piece_is_the_file(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &streaming);
    files_rig_write(&rig, 0, 0, 5, 1);
    files_rig_settle(&rig);
    assert_int_equal(disk.asked[FAKE_PIECE], 1);
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 5);
    files_rig_assert_exactly_once(&disk, 5);
    close_all(&rig, &disk);
}

static void test_what_breaks_off_is_sent_again_from_memory(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        fake_disk disk = {.chaos = 5, .seed = seed, .slow = seed % 2 == 0};
        files_group group = {0};
        sink_rig rig;
        const files_rules rules = {
            .path = "/d/{field:c}/{partition}-{offset}.log", .records = 40, .stream_bytes = 50, .buffer_bytes = 400};
        files_rig_open(&rig, &disk, &rules);
        for (int64_t from = 0; from < 200;) {
            kp_error err;
            char value[64];
            kp_batch *batch = sink_rig_batch(1);
            snprintf(value, sizeof value, "{\"n\":%lld,\"c\":%lld}", (long long)from, (long long)(from % 2));
            sink_rig_add(batch, 0, from, NULL, value);
            if (sink_rig_write(&rig, batch, &err) == KP_OK) {
                kp_batch_free(rig.back[--rig.back_count]);
                from++;
            } else {
                kp_batch_free(batch);
                rig.ops->resume(rig.sink);
            }
            files_rig_settle(&rig);
        }
        rig.ops->seal(rig.sink, 0);
        for (int turn = 0; turn < 500 && group.committed < 200; turn++) {
            rig.ops->resume(rig.sink);
            files_rig_commit_all(&rig, 0, &group);
        }
        assert_int_equal(group.committed, 200);
        assert_int_equal(rig.lost, 0); /* nothing had to be read again */
        files_rig_assert_exactly_once(&disk, 200);
        close_all(&rig, &disk);
    }
}

/* Its bytes are in nobody's memory any more. */
static void test_pieces_that_someone_removed(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &streaming);
    files_rig_write(&rig, 0, 0, 50, 1);
    files_rig_settle(&rig);
    while (fake_disk_count(&disk, "_tmp")) {
        fake_disk_remove(&disk, disk.files[0].path);
    }
    rig.ops->seal(rig.sink, 0);
    files_rig_settle(&rig);
    assert_int_equal(rig.lost, 1);
    assert_string_equal(rig.lost_err.code, "ELOST");
    assert_non_null(strstr(rig.lost_err.message, "/d/_tmp/g+t+0+0+"));
    assert_false(files_rig_intend(&rig, 0, INT64_MAX, &group));
    close_all(&rig, &disk);
}

/* Many small files fill the buffer together: the larger ones go on as pieces, and none is closed for it. */
static void test_a_full_buffer_makes_pieces_of_the_larger_files(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {
        .path = "/d/{partition}-{offset}.log", .age_ms = 60000, .stream_bytes = 1000, .buffer_bytes = 600};
    files_rig_open(&rig, &disk, &rules);
    files_rig_begin(&rig, 1, 1);
    files_rig_write(&rig, 0, 0, 38, 1);
    files_rig_write(&rig, 1, 0, 3, 1);
    assert_true(rig.ops->held_bytes(rig.sink) >= 600);
    files_rig_settle(&rig);
    assert_int_equal(rig.ops->held_bytes(rig.sink), 42);
    assert_int_equal(disk.asked[FAKE_PIECE], 1);
    files_rig_write(&rig, 0, 38, 2, 1);
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(disk.count, 1); /* one file, not two */
    files_rig_assert_exactly_once(&disk, 40);
    close_all(&rig, &disk);
}

static void test_a_slot_may_end_while_pieces_are_under_way(void **state) {
    (void)state;
    fake_disk disk = {.hold = true};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &streaming);
    files_rig_write(&rig, 0, 0, 90, 1);
    files_rig_settle(&rig);
    assert_int_equal(disk.asked[FAKE_PIECE], 8); /* no more at once */
    rig.ops->end(rig.sink, 0);
    assert_true(rig.ops->held_bytes(rig.sink) < 8 * 75); /* of what is under way */
    files_rig_begin(&rig, 0, 0);
    files_rig_write(&rig, 0, 0, 100, 1);
    disk.hold = false;
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(fake_disk_count(&disk, "_tmp"), 0);
    assert_int_equal(rig.ops->held_bytes(rig.sink), 0);
    files_rig_assert_exactly_once(&disk, 100);
    files_rig_write(&rig, 0, 100, 90, 1);
    disk.hold = true;
    files_rig_settle(&rig);
    close_all(&rig, &disk); /* the same for all of it */
}

/* 256 MiB in records of 1 MiB: what the sink holds is a piece or two, whatever the file has. */
static void test_memory_does_not_grow_with_the_file(void **state) {
    (void)state;
    enum { RECORD = 1 << 20, RECORDS = 256 };
    char folder[] = "/tmp/kp-stream-XXXXXX";
    char path[128];
    kp_error err;
    sink_rig rig;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/{offset}.log", folder);
    fake_disk none = {0};
    files_rig_open(&rig, &none,
                   &(files_rules){.path = path, .stream_bytes = 8 << 20, .buffer_bytes = 64 << 20, .format = "raw"});
    files_sink *sink = (files_sink *)rig.sink;
    sink->store->ops->close(sink->store);
    assert_int_equal(kp_store_find("file")->open(&sink->store, rig.config, NULL, &err), KP_OK);
    char *value = malloc(RECORD);
    memset(value, 'x', RECORD - 1);
    value[RECORD - 1] = '\0';
    size_t most = 0;
    for (int64_t offset = 0; offset < RECORDS; offset++) {
        sink_rig_must_write(&rig, sink_rig_values(0, offset, (const char *const[]){value}, 1));
        kp_batch_free(rig.back[--rig.back_count]);
        sink_rig_turn(&rig);
        most = rig.ops->held_bytes(rig.sink) > most ? rig.ops->held_bytes(rig.sink) : most;
    }
    assert_in_range(most, 8 << 20, 17 << 20);
    rig.ops->seal(rig.sink, 0);
    files_group group = {0};
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, RECORDS);
    snprintf(path, sizeof path, "%s/0.log", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    assert_int_equal(ftell(file), (long)RECORD * RECORDS);
    fclose(file);
    remove(path);
    snprintf(path, sizeof path, "%s/_tmp", folder);
    remove(path);
    remove(folder);
    free(value);
    close_all(&rig, &none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_pieces_leave_while_the_file_grows),
        KP_TEST(test_a_small_file_is_one_request),
        KP_TEST(test_one_piece_is_the_file),
        KP_TEST(test_what_breaks_off_is_sent_again_from_memory),
        KP_TEST(test_pieces_that_someone_removed),
        KP_TEST(test_a_full_buffer_makes_pieces_of_the_larger_files),
        KP_TEST(test_a_slot_may_end_while_pieces_are_under_way),
        KP_TEST(test_memory_does_not_grow_with_the_file),
    };
    return kp_test_run(tests);
}
