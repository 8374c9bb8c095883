/* Values and names of templates: see template_value.h. A value from data never opens a folder, never hides a file from
 * Hive and Spark (they skip names that start with '.' or '_'), and is encoded so that two values stay two.
 */
#include "core/template_value.h"

#include "core/utf8.h"

#include <assert.h>
#include <string.h>

/* Length of the character at p: a whole UTF-8 sequence, 0 when it is none or a control character. */
static size_t printable_length(const char *p, size_t left) {
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        return u[0] >= 0x20 && u[0] != 0x7F;
    }
    bool control = u[0] == 0xC2 && left > 1 && u[1] < 0xA0; /* U+0080 to U+009F */
    return control ? 0 : kp_utf8_length(u, left);
}

static kp_status append_path_value(kp_bytes value, size_t most, kp_buf *out, const char **why, kp_error *err) {
    static const char hex[] = "0123456789ABCDEF";
    char safe[KP_TEMPLATE_NAME_MAX];
    size_t used = 0;
    if (value.length == 0) {
        *why = "an empty value cannot be part of a path";
        return KP_REJECT;
    }
    for (size_t i = 0; i < value.length;) {
        const char *p = value.data + i;
        size_t length = printable_length(p, value.length - i);
        bool hides = i == 0 && (*p == '.' || *p == '_');
        bool encode = length == 0 || hides || strchr("\"#%'*/:=?\\^[]{}", *p);
        if (used + (encode ? 3 : length) > most) {
            *why = "the value is too long for a path";
            return KP_REJECT;
        }
        if (encode) {
            unsigned char c = (unsigned char)*p;
            length = 1;
            safe[used++] = '%';
            safe[used++] = hex[c >> 4];
            safe[used++] = hex[c & 15];
        } else {
            memcpy(safe + used, p, length);
            used += length;
        }
        i += length;
    }
    return kp_buf_append(out, safe, used, err);
}

static kp_status append_index_value(kp_bytes value, kp_buf *out, const char **why, kp_error *err) {
    kp_status st = kp_buf_reserve(out, value.length, err);
    for (size_t i = 0; st == KP_OK && i < value.length;) {
        const char *p = value.data + i;
        size_t length = printable_length(p, value.length - i);
        if (length == 0 || strchr("\\/*?\"<>| ,#:", *p)) {
            *why = "the value has a character that an index name must not have";
            return KP_REJECT;
        }
        memcpy(out->data + out->length, p, length);
        if (*p >= 'A' && *p <= 'Z') {
            out->data[out->length] = (char)(*p | 0x20);
        }
        out->length += length;
        i += length;
    }
    return st;
}

kp_status kp_template_append_value(kp_template_use use, kp_bytes value, size_t most, kp_buf *out, const char **why,
                                   kp_error *err) {
    assert(most <= KP_TEMPLATE_NAME_MAX);
    switch (use) {
    case KP_TEMPLATE_PATH:
        return append_path_value(value, most, out, why, err);
    case KP_TEMPLATE_INDEX:
        return append_index_value(value, out, why, err);
    case KP_TEMPLATE_RAW:
        break;
    }
    return kp_buf_append(out, value.data, value.length, err);
}

static bool index_name_valid(kp_bytes name, const char **why) {
    if (name.length == 0 || name.length > KP_TEMPLATE_NAME_MAX) {
        *why = "is no index name: 1 to 255 bytes are needed";
        return false;
    }
    if (strchr("-_+", name.data[0])) {
        *why = "is no index name: it must not start with -, _ or +";
        return false;
    }
    *why = "is no index name";
    return !(name.data[0] == '.' && (name.length == 1 || (name.length == 2 && name.data[1] == '.')));
}

/* Takes the first segment off path. */
static kp_bytes next_segment(kp_bytes *path) {
    const char *slash = memchr(path->data, '/', path->length);
    kp_bytes segment = {path->data, slash ? (size_t)(slash - path->data) : path->length};
    size_t used = segment.length + (slash != NULL);
    path->data += used;
    path->length -= used;
    return segment;
}

static bool path_valid(kp_bytes path, const char **why) {
    while (path.length > 0) {
        if (next_segment(&path).length > KP_TEMPLATE_NAME_MAX) {
            *why = "has a part longer than 255 bytes between two slashes";
            return false;
        }
    }
    return true;
}

bool kp_template_name_valid(kp_template_use use, kp_bytes name, const char **why) {
    switch (use) {
    case KP_TEMPLATE_PATH:
        return path_valid(name, why);
    case KP_TEMPLATE_INDEX:
        return index_name_valid(name, why);
    case KP_TEMPLATE_RAW:
        break;
    }
    return true;
}

bool kp_template_has_dot_segment(kp_bytes path) {
    while (path.length > 0) {
        kp_bytes segment = next_segment(&path);
        if ((segment.length == 1 || segment.length == 2) && memcmp(segment.data, "..", segment.length) == 0) {
            return true;
        }
    }
    return false;
}

bool kp_template_time_valid(kp_bytes form) {
    size_t letters = 0;
    for (size_t i = 0; i < form.length; i++) {
        if (form.data[i] == '%') {
            i++;
            if (i == form.length || !memchr("YmdHMSj", form.data[i], 7)) {
                return false;
            }
            letters++;
        }
    }
    return letters > 0;
}

typedef struct {
    int64_t year;
    int64_t month; /* 1 to 12 */
    int64_t day;   /* 1 to 31 */
} date;

/* The Gregorian date that lies so many days behind 1970-01-01, counted in years that begin on 1 March, so that the leap
 * day is the last (https://howardhinnant.github.io/date_algorithms.html). gmtime_r would take a lock for each record.
 */
static date date_of(int64_t days) {
    int64_t shifted = days + 719468; /* since 0000-03-01 */
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    date found = {.year = year_of_era + 400 * era + (month >= 10),
                  .month = month < 10 ? month + 3 : month - 9,
                  .day = day_of_year - (153 * month + 2) / 5 + 1};
    return found;
}

static int64_t day_of_year(date d) {
    static const int64_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
    return before[d.month - 1] + d.day + (leap && d.month > 2);
}

static kp_status append_number(kp_buf *out, int64_t number, int64_t least, kp_error *err) {
    kp_status st = KP_OK;
    for (; st == KP_OK && least > 1 && number < least; least /= 10) {
        st = kp_buf_append(out, "0", 1, err);
    }
    return st == KP_OK ? kp_buf_append_int(out, number, err) : st;
}

static kp_status append_letter(char letter, int64_t seconds, kp_buf *out, kp_error *err) {
    date d = date_of(seconds / 86400);
    switch (letter) {
    case 'Y':
        return append_number(out, d.year, 1000, err);
    case 'm':
        return append_number(out, d.month, 10, err);
    case 'd':
        return append_number(out, d.day, 10, err);
    case 'j':
        return append_number(out, day_of_year(d), 100, err);
    case 'H':
        return append_number(out, seconds / 3600 % 24, 10, err);
    case 'M':
        return append_number(out, seconds / 60 % 60, 10, err);
    default:
        return append_number(out, seconds % 60, 10, err);
    }
}

kp_status kp_template_append_time(kp_bytes form, int64_t timestamp_ms, kp_buf *out, kp_error *err) {
    kp_status st = KP_OK;
    for (size_t i = 0; st == KP_OK && i < form.length; i++) {
        if (form.data[i] == '%') {
            st = append_letter(form.data[++i], timestamp_ms / 1000, out, err);
        } else {
            st = kp_buf_append(out, form.data + i, 1, err);
        }
    }
    return st;
}
