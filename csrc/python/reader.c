/* _core.Reader: the bounded reader of flow/reader.h, and its table through the Arrow PyCapsule interface. Waiting is
 * done in slices by kafkapipe/reader.py, so that Ctrl-C is answered between them.
 */
#include "flow/reader.h"

#include "core/arrow.h"
#include "core/json_scan.h"
#include "core/mem.h"
#include "python/module.h"

typedef struct {
    PyObject_HEAD kp_reader *reader; /* owned; never NULL */
    bool busy;                       /* something is under way */
} reader_object;

typedef struct { /* the arguments of the constructor; what is allocated is owned, texts are borrowed */
    kp_read_config config;
    kp_read_part *parts;
    kp_read_column *columns;
} arguments;

/* ---- arguments ---- */

static int read_choice(const char *text, const char *const *names, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (int)i;
        }
    }
    PyErr_Format(PyExc_ValueError, "there is no %s \"%s\"", what, text);
    return -1;
}

/* For PyArg_ParseTuple: ("offset", 5). */
static int read_bound(PyObject *object, void *out) {
    static const char *const names[] = {"earliest", "latest", "offset", "time"};
    kp_bound *bound = out;
    const char *name;
    long long value;
    if (!PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "a bound is a pair of its kind and a number");
        return 0;
    }
    if (!PyArg_ParseTuple(object, "sL;a bound is a pair of its kind and a number", &name, &value)) {
        return 0;
    }
    int kind = read_choice(name, names, sizeof names / sizeof *names, "bound");
    *bound = (kp_bound){(kp_bound_kind)kind, value};
    return kind >= 0;
}

static int read_part(PyObject *object, kp_read_part *part) {
    return PyArg_ParseTuple(object, "iO&O&;a part is a partition and two bounds", &part->partition, read_bound,
                            &part->start, read_bound, &part->end)
               ? 0
               : -1;
}

static int read_source(PyObject *object, kp_read_column *column) {
    const char *names[KP_READ_JSON];
    for (size_t i = 0; i < KP_READ_JSON; i++) {
        names[i] = kp_read_source_name((kp_read_source)i);
    }
    const char *name = PyUnicode_AsUTF8(object);
    int source = name ? read_choice(name, names, KP_READ_JSON, "column") : -1;
    column->source = (kp_read_source)source;
    return source < 0 ? -1 : 0;
}

/* A name, or a pair of a path in the value and its type. */
static int read_column(PyObject *object, kp_read_column *column) {
    static const char *const types[] = {"int64", "float64", "bool", "string"};
    static const kp_column_kind kinds[] = {KP_COLUMN_INT64, KP_COLUMN_FLOAT64, KP_COLUMN_BOOL, KP_COLUMN_UTF8};
    const char *type;
    if (PyUnicode_Check(object)) {
        return read_source(object, column);
    }
    column->source = KP_READ_JSON;
    if (!PyArg_ParseTuple(object, "ss;a field is a pair of its path and its type", &column->name, &type)) {
        return -1;
    }
    int kind = read_choice(type, types, sizeof types / sizeof *types, "type");
    column->kind = kind < 0 ? KP_COLUMN_UTF8 : kinds[kind];
    return kind < 0 ? -1 : 0;
}

static int read_lists(arguments *args, PyObject *columns, PyObject *parts) {
    args->config.column_count = (size_t)PyTuple_GET_SIZE(columns);
    args->config.part_count = (size_t)PyTuple_GET_SIZE(parts);
    args->config.columns = args->columns = kp_calloc(args->config.column_count, sizeof *args->columns);
    args->config.parts = args->parts = kp_calloc(args->config.part_count, sizeof *args->parts);
    if (!args->columns || !args->parts) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < args->config.column_count; i++) {
        if (read_column(PyTuple_GET_ITEM(columns, (Py_ssize_t)i), &args->columns[i]) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < args->config.part_count; i++) {
        if (read_part(PyTuple_GET_ITEM(parts, (Py_ssize_t)i), &args->parts[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- life ---- */

static PyObject *reader_new(PyTypeObject *type, PyObject *positional, PyObject *kwargs) {
    kp_python_state *state = kp_python_state_of_type(type);
    arguments args = {0};
    kp_read_config *config = &args.config;
    PyObject *pairs, *columns, *parts;
    long long limit;
    kp_error err;
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Reader takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(positional, "OsO!O!O&O&Li:Reader", &pairs, &config->topic, &PyTuple_Type, &columns,
                          &PyTuple_Type, &parts, read_bound, &config->start, read_bound, &config->end, &limit,
                          &config->timeout_ms)) {
        return NULL;
    }
    config->limit = limit;
    reader_object *self = NULL;
    rd_kafka_conf_t *conf = read_lists(&args, columns, parts) == 0 ? kp_python_conf_new(state, pairs) : NULL;
    if (conf && !(self = (reader_object *)type->tp_alloc(type, 0))) {
        rd_kafka_conf_destroy(conf);
    }
    if (self && kp_reader_new(&self->reader, config, conf, &err) != KP_OK) {
        Py_CLEAR(self);
        kp_python_raise_config(state, &err, "read");
    }
    kp_free(args.columns);
    kp_free(args.parts);
    return (PyObject *)self;
}

static void reader_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    kp_reader_free(((reader_object *)self)->reader);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- asking and reading ---- */

static PyObject *run(PyObject *object, kp_status (*begin)(kp_reader *, kp_error *)) {
    reader_object *self = (reader_object *)object;
    kp_error err;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "something is under way: wait for it first");
        return NULL;
    }
    if (begin(self->reader, &err) != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "read");
    }
    self->busy = true;
    Py_RETURN_NONE;
}

static PyObject *reader_ask(PyObject *self, PyObject *unused) {
    (void)unused;
    return run(self, kp_reader_ask);
}

static PyObject *reader_read(PyObject *self, PyObject *unused) {
    (void)unused;
    return run(self, kp_reader_read);
}

static PyObject *reader_wait(PyObject *object, PyObject *argument) {
    reader_object *self = (reader_object *)object;
    kp_status st = KP_OK;
    kp_error err;
    bool ended;
    int timeout_ms = (int)PyLong_AsLong(argument);
    if (PyErr_Occurred()) {
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS;
    ended = kp_reader_wait(self->reader, timeout_ms, &st, &err);
    Py_END_ALLOW_THREADS;

    self->busy = !ended;
    if (ended && st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "read");
    }
    return PyBool_FromLong(ended);
}

static PyObject *ranges_of(const kp_reader *reader, kp_read_range *ranges, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    kp_reader_ranges(reader, ranges, count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *range =
            Py_BuildValue("(iLL)", ranges[i].partition, (long long)ranges[i].start, (long long)ranges[i].end);
        if (!range) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, range);
        }
    }
    return list;
}

static bool is_idle(PyObject *self) {
    if (((reader_object *)self)->busy) {
        PyErr_SetString(PyExc_RuntimeError, "something is under way: wait for it first");
        return false;
    }
    return true;
}

static PyObject *reader_ranges(PyObject *self, PyObject *unused) {
    const kp_reader *reader = ((reader_object *)self)->reader;
    (void)unused;
    if (!is_idle(self)) {
        return NULL;
    }
    size_t count = kp_reader_ranges(reader, NULL, 0);
    kp_read_range *ranges = kp_calloc(count, sizeof *ranges);
    PyObject *list = ranges ? ranges_of(reader, ranges, count) : PyErr_NoMemory();
    kp_free(ranges);
    return list;
}

/* ---- Arrow ---- */

static void schema_destroy(PyObject *capsule) {
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
    if (schema->release) {
        schema->release(schema);
    }
    kp_free(schema);
}

static void stream_destroy(PyObject *capsule) {
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (stream->release) {
        stream->release(stream);
    }
    kp_free(stream);
}

static PyObject *reader_schema(PyObject *self, PyObject *unused) {
    kp_error err;
    (void)unused;
    struct ArrowSchema *schema = kp_calloc(1, sizeof *schema);
    if (!schema || kp_arrow_schema_export(kp_reader_table(((reader_object *)self)->reader), schema, &err) != KP_OK) {
        kp_free(schema);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(schema, "arrow_schema", schema_destroy);
    if (!capsule) {
        schema->release(schema);
        kp_free(schema);
    }
    return capsule;
}

static PyObject *reader_stream(PyObject *self, PyObject *unused) {
    kp_error err;
    (void)unused;
    if (!is_idle(self)) {
        return NULL;
    }
    struct ArrowArrayStream *stream = kp_calloc(1, sizeof *stream);
    if (!stream || kp_arrow_stream_export(kp_reader_table(((reader_object *)self)->reader), stream, &err) != KP_OK) {
        kp_free(stream);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(stream, "arrow_array_stream", stream_destroy);
    if (!capsule) {
        stream->release(stream);
        kp_free(stream);
    }
    return capsule;
}

/* ---- rows as Python values ---- */

static PyObject *value_of(const kp_column *column, int64_t row);

static PyObject *text_of(kp_bytes text) {
    return PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.length, NULL);
}

static PyObject *list_of(const kp_column *column, int64_t row) {
    int64_t start = kp_column_list_end(column, row - 1);
    int64_t end = kp_column_list_end(column, row);
    PyObject *list = PyList_New((Py_ssize_t)(end - start));
    for (int64_t i = start; list && i < end; i++) {
        PyObject *item = value_of(&column->children[0], i);
        if (!item) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)(i - start), item);
        }
    }
    return list;
}

static PyObject *tuple_of(const kp_column *columns, size_t count, int64_t row) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *value = value_of(&columns[i], row);
        if (!value) {
            Py_CLEAR(tuple);
        } else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, value);
        }
    }
    return tuple;
}

static PyObject *value_of(const kp_column *column, int64_t row) {
    if (kp_column_is_null(column, row)) {
        return Py_NewRef(Py_None);
    }
    kp_bytes bytes;
    switch (column->kind) {
    case KP_COLUMN_UTF8:
        return text_of(kp_column_bytes(column, row));
    case KP_COLUMN_BINARY:
        bytes = kp_column_bytes(column, row);
        return PyBytes_FromStringAndSize(bytes.data, (Py_ssize_t)bytes.length);
    case KP_COLUMN_WORD:
        return text_of(kp_column_bytes(&column->children[0], kp_column_int(column, row)));
    case KP_COLUMN_FLOAT64:
        return PyFloat_FromDouble(kp_column_double(column, row));
    case KP_COLUMN_BOOL:
        return PyBool_FromLong((long)kp_column_int(column, row));
    case KP_COLUMN_LIST:
        return list_of(column, row);
    case KP_COLUMN_STRUCT:
        return tuple_of(column->children, column->child_count, row);
    default:
        return PyLong_FromLongLong(kp_column_int(column, row));
    }
}

static int append_rows(PyObject *list, const kp_rows *rows, int64_t most) {
    for (int64_t row = 0; row < rows->length && PyList_GET_SIZE(list) < most; row++) {
        PyObject *tuple = tuple_of(rows->columns, rows->column_count, row);
        if (!tuple || PyList_Append(list, tuple) < 0) {
            Py_XDECREF(tuple);
            return -1;
        }
        Py_DECREF(tuple);
    }
    return 0;
}

static PyObject *reader_head(PyObject *self, PyObject *argument) {
    const kp_table *table = kp_reader_table(((reader_object *)self)->reader);
    long long most = PyLong_AsLongLong(argument);
    if (PyErr_Occurred() || !is_idle(self)) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < table->batch_count; i++) {
        if (append_rows(list, table->batches[i], most) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *get_length(PyObject *self, void *unused) {
    (void)unused;
    return is_idle(self) ? PyLong_FromLongLong(kp_reader_table(((reader_object *)self)->reader)->length) : NULL;
}

/* ---- the type ---- */

static PyMethodDef methods[] = {
    {"ask", reader_ask, METH_NOARGS, PyDoc_STR("ask($self, /)\n--\n\nStarts to find the offsets of the range.")},
    {"read", reader_read, METH_NOARGS, PyDoc_STR("read($self, /)\n--\n\nStarts to read the range that was found.")},
    {"wait", reader_wait, METH_O,
     PyDoc_STR("wait($self, timeout_ms, /)\n--\n\nWhether what was started has ended; raises how it failed.")},
    {"ranges", reader_ranges, METH_NOARGS,
     PyDoc_STR("ranges($self, /)\n--\n\nPartition, first offset and the one behind the last, of each partition.")},
    {"head", reader_head, METH_O,
     PyDoc_STR("head($self, most, /)\n--\n\nThe first rows, as tuples; timestamps are milliseconds.")},
    {"arrow_schema", reader_schema, METH_NOARGS,
     PyDoc_STR("arrow_schema($self, /)\n--\n\nA capsule with the ArrowSchema of the rows.")},
    {"arrow_stream", reader_stream, METH_NOARGS,
     PyDoc_STR("arrow_stream($self, /)\n--\n\nA capsule with an ArrowArrayStream of the rows.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"length", get_length, NULL, PyDoc_STR("Number of rows that were read."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("Reader(properties, topic, columns, parts, start, end, limit, timeout_ms, /)\n--\n\n"
                                  "Reads a range of a topic into Arrow columns."))},
    {Py_tp_new, KP_SLOT(reader_new)},
    {Py_tp_dealloc, KP_SLOT(reader_dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.Reader",
    .basicsize = sizeof(reader_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_reader(PyObject *module) {
    return kp_python_add_type(module, &spec, NULL);
}
