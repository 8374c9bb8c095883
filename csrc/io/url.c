/* http and https addresses: see url.h. The set of characters is small on purpose: what this takes, libcurl reads in
 * the same way, so that a check made here holds for the connection made there.
 */
#include "io/url.h"

#include <stdio.h>
#include <string.h>

enum { KP_URL_SHOWN = 300 };

static kp_status refuse(kp_error *err, const char *why) {
    return kp_error_set(err, KP_REJECT, "", "%s", why);
}

static bool skip_prefix(kp_bytes *text, const char *prefix) {
    size_t length = strlen(prefix);
    if (text->length < length || memcmp(text->data, prefix, length) != 0) {
        return false;
    }
    text->data += length;
    text->length -= length;
    return true;
}

static bool is_host_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static bool is_address_char(char c) {
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' || c == '.';
}

static kp_status take_host(kp_bytes *text, kp_bytes *host, kp_error *err) {
    size_t end = 0;
    if (text->length && text->data[0] == '[') {
        for (end = 1; end < text->length && is_address_char(text->data[end]); end++) {
        }
        if (end == text->length || text->data[end] != ']' || end == 1) {
            return refuse(err, "an IPv6 address is not closed");
        }
        end++;
    } else {
        while (end < text->length && is_host_char(text->data[end])) {
            end++;
        }
    }
    if (end == 0) {
        return refuse(err, "there is no host");
    }
    *host = (kp_bytes){text->data, end};
    text->data += end;
    text->length -= end;
    return KP_OK;
}

static kp_status take_port(kp_bytes *text, int *port, kp_error *err) {
    int number = 0;
    size_t digits = 0;
    if (!skip_prefix(text, ":")) {
        return KP_OK;
    }
    while (digits < text->length && digits < 5 && text->data[digits] >= '0' && text->data[digits] <= '9') {
        number = number * 10 + (text->data[digits++] - '0');
    }
    if (number < 1 || number > 65535) {
        return refuse(err, "the port is no number from 1 to 65535");
    }
    *port = number;
    text->data += digits;
    text->length -= digits;
    return KP_OK;
}

static kp_status check_path(kp_bytes path, kp_error *err) {
    if (path.length && path.data[0] != '/' && path.data[0] != '?') {
        return refuse(err, "there is something else than a host and a port");
    }
    for (size_t i = 0; i < path.length; i++) {
        char c = path.data[i];
        if (c <= ' ' || c >= 0x7f || c == '\\' || c == '#') {
            return refuse(err, "there is a character that is not allowed");
        }
    }
    return KP_OK;
}

kp_status kp_url_parse(kp_url *out, kp_bytes text, kp_error *err) {
    kp_status st;
    kp_bytes rest = text;
    out->https = skip_prefix(&rest, "https://");
    if (!out->https && !skip_prefix(&rest, "http://")) {
        return refuse(err, "it is neither http:// nor https://");
    }
    out->port = out->https ? 443 : 80;
    KP_TRY(take_host(&rest, &out->host, err));
    KP_TRY(take_port(&rest, &out->port, err));
    KP_TRY(check_path(rest, err));
    out->path = rest;
done:
    return st;
}

void kp_url_show(const char *url, char *out, size_t size) {
    const char *separator = strstr(url, "://");
    const char *host = separator ? separator + 3 : url;
    size_t end = strcspn(host, "?#");
    size_t user = end; /* an '@' further back than the host is taken for a user part too: better too little shown */
    while (user > 0 && host[user - 1] != '@') {
        user--;
    }
    size_t shown = end - user;
    bool cut = shown > KP_URL_SHOWN;
    snprintf(out, size, "%.*s%.*s%s", (int)(host - url), url, cut ? KP_URL_SHOWN : (int)shown, host + user,
             cut ? "..." : "");
}
