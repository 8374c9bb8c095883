/* Values of scanned JSON texts as rows of columns. */
#ifndef KP_CORE_JSON_COLUMN_H
#define KP_CORE_JSON_COLUMN_H

#include "core/column.h"
#include "core/json_scan.h"

/* Appends one row to an INT64, FLOAT64, BOOL or UTF8 column. It is null when the span is none, null, or does not fit:
 * an INT64 takes whole numbers written without point and exponent, a FLOAT64 every number that is finite as a double,
 * a UTF8 strings, a BOOL true and false. scratch is overwritten. */
kp_status kp_column_append_json(kp_column *column, kp_json_span span, kp_buf *scratch, kp_error *err) KP_MUST_CHECK;

#endif
