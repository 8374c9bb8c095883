/* The files sink on a bench: see files_rig.h. */
#include "files_rig.h"

#include "sinks/files.h"

#include <stdio.h>
#include <stdlib.h>

static void use_store(sink_rig *rig, fake_disk *disk) {
    files_sink *sink = (files_sink *)rig->sink;
    sink->store->ops->close(sink->store);
    sink->store = fake_store_new(disk);
}

void files_rig_open(sink_rig *rig, fake_disk *disk, const files_rules *rules) {
    char config[2048];
    int length = snprintf(
        config, sizeof config,
        "{\"type\":\"file\",\"path\":\"%s\",\"rotate_records\":%d,\"rotate_bytes\":%d,\"rotate_age_ms\":%d,"
        "\"buffer_bytes\":%d,\"stream_bytes\":%d,\"format\":\"%s\",\"compression\":\"%s\",\"envelope\":%s,"
        "\"open_files\":%d,\"overrides\":%s}",
        rules->path, rules->records, rules->bytes, rules->age_ms, rules->buffer_bytes ? rules->buffer_bytes : 1 << 20,
        rules->stream_bytes, rules->format ? rules->format : "json", rules->compression ? rules->compression : "none",
        rules->envelope ? "true" : "false", rules->open_files ? rules->open_files : 256,
        rules->overrides ? rules->overrides : "{}");
    assert_true(length > 0 && (size_t)length < sizeof config);
    sink_rig_open(rig, "file", config);
    use_store(rig, disk);
    files_rig_begin(rig, 0, 0);
}

void files_rig_begin(sink_rig *rig, int32_t slot, int32_t partition) {
    kp_error err;
    assert_int_equal(rig->ops->begin(rig->sink, slot, "t", partition, &err), KP_OK);
}

void files_rig_write(sink_rig *rig, int32_t slot, int64_t from, size_t count, int colors) {
    char value[64];
    kp_batch *batch = sink_rig_batch(count);
    for (int64_t offset = from; offset < from + (int64_t)count; offset++) {
        snprintf(value, sizeof value, "{\"n\":%lld,\"c\":%lld}", (long long)offset, (long long)(offset % colors));
        sink_rig_add(batch, slot, offset, NULL, value);
    }
    size_t back = rig->back_count;
    sink_rig_must_write(rig, batch);
    assert_int_equal(rig->back_count, back + 1);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(batch->verdicts[i].outcome, KP_DELIVERED);
    }
    kp_batch_free(batch);
    rig->back_count--;
}

void files_rig_settle(sink_rig *rig) {
    size_t troubles = rig->troubles;
    for (int turn = 0; turn < 50 && rig->troubles == troubles; turn++) {
        sink_rig_turn(rig);
    }
}

bool files_rig_intend(sink_rig *rig, int32_t slot, int64_t end_max, files_group *group) {
    kp_intent intent;
    bool some = rig->ops->sealed(rig->sink, slot, end_max, &intent);
    if (some) {
        char wrapped[8300];
        assert_in_range(intent.manifest.length, 1, sizeof group->intent - 1);
        memcpy(group->intent, intent.manifest.data, intent.manifest.length);
        group->intent[intent.manifest.length] = '\0';
        group->intent_end = intent.end;
        int length = snprintf(wrapped, sizeof wrapped, "{\"kafkapipe\":1,\"end\":%lld,\"files\":%s}",
                              (long long)intent.end, group->intent);
        assert_in_range(length, 1, 4096); /* what a broker takes */
    }
    kp_buf_deinit(&intent.manifest);
    return some;
}

void files_rig_publish(sink_rig *rig, int32_t slot, files_group *group) {
    for (int try = 0;; try++) {
        kp_error err;
        size_t published = rig->published + 1;
        assert_true(try < 200);
        assert_int_equal(rig->ops->publish(rig->sink, slot, kp_bytes_of(group->intent), &err), KP_OK);
        sink_rig_until(rig, &rig->published, published);
        if (rig->published_err.status == KP_OK) {
            break;
        }
        rig->ops->resume(rig->sink);
    }
    group->committed = group->intent_end;
    group->intent[0] = '\0';
    rig->ops->settled(rig->sink, slot, group->committed);
}

void files_rig_commit_all(sink_rig *rig, int32_t slot, files_group *group) {
    files_rig_settle(rig);
    while (files_rig_intend(rig, slot, INT64_MAX, group)) {
        files_rig_publish(rig, slot, group);
        files_rig_settle(rig);
    }
}

static void count_lines(const fake_file *file, int *seen, size_t count) {
    long long last = -1;
    for (const char *line = file->body; *line;) {
        long long n = atoll(line + 5); /* {"n":7 */
        assert_true(n > last && n < (long long)count);
        seen[n]++;
        last = n;
        line = strchr(line, '\n');
        assert_non_null(line); /* every line is whole */
        line++;
    }
}

void files_rig_assert_exactly_once(const fake_disk *disk, size_t count) {
    int *seen = calloc(count ? count : 1, sizeof *seen);
    for (size_t i = 0; i < disk->count; i++) {
        if (!strstr(disk->files[i].path, "/_tmp/")) {
            count_lines(&disk->files[i], seen, count);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (seen[i] != 1) {
            fail_msg("offset %zu is there %d times", i, seen[i]);
        }
    }
    free(seen);
}

void files_rig_assert_file(const fake_disk *disk, const char *path, const char *body) {
    const fake_file *file = fake_disk_find(disk, path);
    if (!file) {
        fail_msg("no file %s", path);
    }
    assert_string_equal(file->body, body);
}
