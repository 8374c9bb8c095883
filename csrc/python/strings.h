/* Columns of strings out of whatever speaks the Arrow PyCapsule interface (pyarrow, polars, pandas, duckdb, ours):
 * https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
 */
#ifndef KP_PYTHON_STRINGS_H
#define KP_PYTHON_STRINGS_H

#include "core/strings.h"
#include "python/module.h"

/* 1: *out is the column, owned by the caller; 0: the object speaks no Arrow; -1 with an exception. `what` names the
 * object in it. */
int kp_python_strings_take(kp_strings **out, PyObject *object, const char *what);

#endif
