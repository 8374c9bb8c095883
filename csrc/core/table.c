/* A table: see table.h. */
#include "core/table.h"

#include "core/mem.h"

#include <string.h>

static void field_deinit(kp_field *field) {
    for (size_t i = 0; field->words && i < field->word_count; i++) {
        kp_free((char *)field->words[i]);
    }
    kp_free((void *)field->words);
    kp_free((char *)field->name);
}

static kp_status field_copy(kp_field *field, const kp_field *from, kp_error *err) {
    *field = *from;
    field->name = kp_strdup(from->name);
    const char **words = kp_calloc(from->word_count, sizeof *words);
    field->words = words;
    if (!field->name || !words) {
        return kp_error_nomem(err);
    }
    for (size_t i = 0; i < from->word_count; i++) {
        words[i] = kp_strdup(from->words[i]);
        if (!words[i]) {
            return kp_error_nomem(err);
        }
    }
    return KP_OK;
}

kp_status kp_table_new(kp_table **out, const kp_field *fields, size_t count, kp_error *err) {
    kp_status st = KP_OK;
    kp_table *table = kp_calloc(1, sizeof *table);
    *out = NULL;
    if (!table || !(table->fields = kp_calloc(count, sizeof *table->fields))) {
        kp_free(table);
        return kp_error_nomem(err);
    }
    atomic_init(&table->refs, 1);
    while (st == KP_OK && table->field_count < count) {
        st = field_copy(&table->fields[table->field_count], &fields[table->field_count], err);
        table->field_count++; /* a half copied one is freed too */
    }
    if (st != KP_OK) {
        kp_table_release(table);
        return st;
    }
    *out = table;
    return KP_OK;
}

kp_table *kp_table_retain(kp_table *table) {
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void kp_table_release(kp_table *table) {
    if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < table->batch_count; i++) {
        kp_rows_release(table->batches[i]);
    }
    for (size_t i = 0; i < table->field_count; i++) {
        field_deinit(&table->fields[i]);
    }
    kp_free(table->batches);
    kp_free(table->fields);
    kp_free(table);
}

kp_status kp_table_add(kp_table *table, kp_rows *rows, kp_error *err) {
    if (table->batch_count == table->batch_capacity) {
        size_t capacity = table->batch_capacity ? table->batch_capacity * 2 : 8;
        kp_rows **batches = kp_realloc(table->batches, capacity * sizeof(kp_rows *));
        if (!batches) {
            return kp_error_nomem(err);
        }
        table->batches = batches;
        table->batch_capacity = capacity;
    }
    table->batches[table->batch_count++] = rows;
    table->length += rows->length;
    return KP_OK;
}
