/* J1: validate an event and locate two of its fields, against cJSON parsing and finding the same two. One core.
 *
 * Prints one line. The two run alternately on the same bytes; the ratio is the median of the pairs. Before the clock
 * starts, every event's two fields are compared, text for text: a mismatch ends the run with 1.
 *   make -s -C bench run-json
 */
#include "core/json_scan.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { EVENTS = 1000, ROUNDS = 300, PAIRS = 9 };

static char events[EVENTS][512];
static size_t lengths[EVENTS];
static kp_json_path paths[2];

static void make_events(void) {
    static const char *const colors[] = {"red", "yellow", "green", "blue"};
    static const char *const users[] = {"홍길동", "김철수", "이\\\"영희\\\"", "박민수", "user-42", "최 지우"};
    static const char *const agents[] = {"Mozilla/5.0 (X11; Linux x86_64) Chrome/131.0.0.0",
                                         "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2) Mobile/15E148"};
    for (int i = 0; i < EVENTS; i++) {
        int n =
            snprintf(events[i], sizeof events[i],
                     "{\"timestamp\":\"2026-01-01T10:%02d:%02d.%03d+0900\",\"userAgent\":\"%s\",\"colorName\":\"%s\","
                     "\"userName\":\"%s\",\"session\":%lld}",
                     i / 60 % 60, i % 60, i, agents[i % 2], colors[i % 4], users[i % 6], 9007199254740993LL + i);
        lengths[i] = (size_t)n;
    }
}

static size_t scan_one(int i) {
    kp_json_span found[2];
    kp_error err;
    if (kp_json_scan((kp_bytes){events[i], lengths[i]}, paths, 2, found, NULL, &err) != KP_OK) {
        abort();
    }
    return found[0].raw.length + found[1].raw.length;
}

static size_t parse_one(int i) {
    cJSON *root = cJSON_Parse(events[i]);
    const cJSON *color = cJSON_GetObjectItemCaseSensitive(root, "colorName");
    const cJSON *user = cJSON_GetObjectItemCaseSensitive(root, "userName");
    if (!color || !user) {
        abort();
    }
    size_t sum = (size_t)color->valuestring[0] + (size_t)user->valuestring[0];
    cJSON_Delete(root);
    return sum;
}

static bool same_text(kp_json_span span, const cJSON *item) {
    kp_buf text = {0};
    bool same = kp_json_unescape(span, &text, NULL) == KP_OK && text.length == strlen(item->valuestring) &&
                memcmp(text.data, item->valuestring, text.length) == 0;
    kp_buf_deinit(&text);
    return same;
}

static bool check_one(int i) {
    kp_json_span found[2];
    cJSON *root = cJSON_Parse(events[i]);
    bool good = kp_json_scan((kp_bytes){events[i], lengths[i]}, paths, 2, found, NULL, NULL) == KP_OK &&
                same_text(found[0], cJSON_GetObjectItemCaseSensitive(root, "colorName")) &&
                same_text(found[1], cJSON_GetObjectItemCaseSensitive(root, "userName"));
    cJSON_Delete(root);
    return good;
}

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* CPU-seconds per million events. */
static double run(size_t (*one)(int i), int rounds) {
    volatile size_t sum = 0;
    double from = cpu_seconds();
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < EVENTS; i++) {
            sum += one(i);
        }
    }
    return (cpu_seconds() - from) / ((double)rounds * EVENTS) * 1e6;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    double ours[PAIRS];
    double theirs[PAIRS];
    double ratios[PAIRS];
    size_t bytes = 0;
    struct rusage usage;
    make_events();
    if (kp_json_path_init(&paths[0], kp_bytes_of("colorName"), NULL) != KP_OK ||
        kp_json_path_init(&paths[1], kp_bytes_of("userName"), NULL) != KP_OK) {
        return 1;
    }
    for (int i = 0; i < EVENTS; i++) {
        bytes += lengths[i];
        if (!check_one(i)) {
            fprintf(stderr, "json: event %d: the two parsers disagree\n", i);
            return 1;
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        ours[i] = run(scan_one, ROUNDS * 4);
        theirs[i] = run(parse_one, ROUNDS);
        ratios[i] = theirs[i] / ours[i];
    }
    qsort(ours, PAIRS, sizeof *ours, by_size);
    qsort(theirs, PAIRS, sizeof *theirs, by_size);
    qsort(ratios, PAIRS, sizeof *ratios, by_size);
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "J1 json: %.1fx cJSON %s (%.1f to %.1f, %d pairs), %.2f against %.2f M events/s, %.3f against %.3f CPU-s per "
        "million, events of %zu bytes, peak %ld KiB\n",
        ratios[PAIRS / 2], cJSON_Version(), ratios[0], ratios[PAIRS - 1], PAIRS, 1 / ours[PAIRS / 2],
        1 / theirs[PAIRS / 2], ours[PAIRS / 2], theirs[PAIRS / 2], bytes / EVENTS, usage.ru_maxrss);
    return 0;
}
