/* kafkapipe._core: JSON as the core reads it. split_events takes a request body apart; json_check and json_fields show
 * the scanner by itself.
 */
#include "python/module.h"

#include "core/json_scan.h"

enum { GIL_FREE_BYTES = 65536 }; /* a shorter text is scanned before another thread could take the GIL */

static PyThreadState *leave_python(const Py_buffer *text) {
    return text->len > GIL_FREE_BYTES ? PyEval_SaveThread() : NULL;
}

static void enter_python(PyThreadState *saved) {
    if (saved) {
        PyEval_RestoreThread(saved);
    }
}

static kp_bytes bytes_of(const Py_buffer *buffer) {
    return (kp_bytes){buffer->buf, (size_t)buffer->len};
}

/* ---- split_events ---- */

typedef struct {
    size_t start;
    size_t end;
} event_span;

typedef struct {
    size_t index;
    size_t text_end; /* its message in texts goes from the end of the one before to here */
} event_problem;

typedef struct {
    const char *body;
    kp_buf spans;    /* of event_span */
    kp_buf problems; /* of event_problem */
    kp_buf texts;
    kp_error err;
    kp_status st;
} splitting;

static kp_status keep_problem(splitting *self, size_t index, const char *message) {
    kp_status st;
    KP_TRY(kp_buf_append_text(&self->texts, message, &self->err));
    event_problem kept = {index, self->texts.length};
    KP_TRY(kp_buf_append(&self->problems, &kept, sizeof kept, &self->err));
done:
    return st;
}

static bool on_event(void *ctx, size_t index, kp_bytes event, const kp_error *problem) {
    splitting *self = ctx;
    if (problem) {
        self->st = keep_problem(self, index, problem->message);
    } else {
        size_t start = (size_t)(event.data - self->body);
        event_span kept = {start, start + event.length};
        self->st = kp_buf_append(&self->spans, &kept, sizeof kept, &self->err);
    }
    return self->st == KP_OK;
}

static kp_status split(splitting *self, const Py_buffer *body, size_t max_events) {
    PyThreadState *saved = leave_python(body);
    kp_status st = kp_json_split_events(bytes_of(body), max_events, on_event, self, &self->err);
    if (st == KP_REJECT) {
        st = keep_problem(self, max_events, self->err.message);
    } else if (st == KP_OK) {
        st = self->st;
    }
    enter_python(saved);
    return st;
}

static PyObject *span_list(const splitting *self) {
    const event_span *spans = (const event_span *)(const void *)self->spans.data;
    Py_ssize_t count = (Py_ssize_t)(self->spans.length / sizeof *spans);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *item = Py_BuildValue("(nn)", (Py_ssize_t)spans[i].start, (Py_ssize_t)spans[i].end);
        if (!item) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, i, item);
        }
    }
    return list;
}

static PyObject *problem_list(const splitting *self) {
    const event_problem *problems = (const event_problem *)(const void *)self->problems.data;
    Py_ssize_t count = (Py_ssize_t)(self->problems.length / sizeof *problems);
    PyObject *list = PyList_New(count);
    size_t from = 0;
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *item = Py_BuildValue("(ns#)", (Py_ssize_t)problems[i].index, self->texts.data + from,
                                       (Py_ssize_t)(problems[i].text_end - from));
        from = problems[i].text_end;
        if (!item) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, i, item);
        }
    }
    return list;
}

static PyObject *split_result(const splitting *self) {
    PyObject *spans = span_list(self);
    PyObject *problems = spans ? problem_list(self) : NULL;
    PyObject *result = problems ? PyTuple_Pack(2, spans, problems) : NULL;
    Py_XDECREF(spans);
    Py_XDECREF(problems);
    return result;
}

static PyObject *split_events(PyObject *module, PyObject *args) {
    Py_buffer body;
    Py_ssize_t max_events;
    splitting self = {0};
    if (!PyArg_ParseTuple(args, "y*n:split_events", &body, &max_events)) {
        return NULL;
    }
    PyObject *result = NULL;
    self.body = body.buf;
    if (max_events < 0) {
        PyErr_SetString(PyExc_ValueError, "max_events must not be negative");
    } else if (split(&self, &body, (size_t)max_events) != KP_OK) {
        kp_python_raise(kp_python_state_of(module), &self.err, "split events");
    } else {
        result = split_result(&self);
    }
    kp_buf_deinit(&self.spans);
    kp_buf_deinit(&self.problems);
    kp_buf_deinit(&self.texts);
    PyBuffer_Release(&body);
    return result;
}

/* ---- the scanner by itself ---- */

static PyObject *json_check(PyObject *module, PyObject *data) {
    (void)module;
    Py_buffer text;
    kp_error err;
    if (PyObject_GetBuffer(data, &text, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyThreadState *saved = leave_python(&text);
    kp_status st = kp_json_scan(bytes_of(&text), NULL, 0, NULL, NULL, &err);
    enter_python(saved);
    PyBuffer_Release(&text);
    return st == KP_OK ? Py_NewRef(Py_None) : PyUnicode_FromString(err.message);
}

/* names: a list or tuple of str, which keeps alive what the paths borrow. */
static int read_paths(PyObject *names, kp_json_path *paths) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(names); i++) {
        kp_error err;
        Py_ssize_t length;
        const char *name = PyUnicode_AsUTF8AndSize(PySequence_Fast_GET_ITEM(names, i), &length);
        if (!name) {
            return -1;
        }
        if (kp_json_path_init(&paths[i], (kp_bytes){name, (size_t)length}, &err) != KP_OK) {
            PyErr_SetString(PyExc_ValueError, err.message);
            return -1;
        }
    }
    return 0;
}

static PyObject *field_list(const kp_json_span *found, Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *item = found[i].kind == KP_JSON_NONE
                             ? Py_NewRef(Py_None)
                             : PyBytes_FromStringAndSize(found[i].raw.data, (Py_ssize_t)found[i].raw.length);
        if (!item) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, i, item);
        }
    }
    return list;
}

static PyObject *find_fields(PyObject *module, const Py_buffer *text, PyObject *names) {
    kp_json_path paths[KP_JSON_PATHS_MAX];
    kp_json_span found[KP_JSON_PATHS_MAX];
    Py_ssize_t count = PySequence_Fast_GET_SIZE(names);
    kp_error err;
    if (count > KP_JSON_PATHS_MAX) {
        return PyErr_Format(PyExc_ValueError, "more than %d paths", KP_JSON_PATHS_MAX);
    }
    if (read_paths(names, paths) < 0) {
        return NULL;
    }
    PyThreadState *saved = leave_python(text);
    kp_status st = kp_json_scan(bytes_of(text), paths, (size_t)count, found, NULL, &err);
    enter_python(saved);
    return st == KP_OK ? field_list(found, count) : kp_python_raise(kp_python_state_of(module), &err, "json fields");
}

static PyObject *json_fields(PyObject *module, PyObject *args) {
    Py_buffer text;
    PyObject *sequence;
    if (!PyArg_ParseTuple(args, "y*O:json_fields", &text, &sequence)) {
        return NULL;
    }
    PyObject *names = PySequence_Tuple(sequence); /* a copy: nobody can take a name out while it is borrowed */
    PyObject *fields = names ? find_fields(module, &text, names) : NULL;
    Py_XDECREF(names);
    PyBuffer_Release(&text);
    return fields;
}

static PyMethodDef methods[] = {
    {"split_events", split_events, METH_VARARGS,
     PyDoc_STR("split_events(body, max_events, /)\n--\n\n"
               "Takes a body apart that is one JSON object, an array of objects or NDJSON.\n\n"
               "Gives the (start, end) of each event's exact bytes, and (index, message) for each that is no JSON\n"
               "object; indexes count both. Where an array breaks its rest is one problem, and so is all that comes\n"
               "after max_events. Strict RFC 8259 and UTF-8.")},
    {"json_check", json_check, METH_O,
     PyDoc_STR("json_check(data, /)\n--\n\nWhat is wrong with a JSON text, with the position; None when it is valid.")},
    {"json_fields", json_fields, METH_VARARGS,
     PyDoc_STR(
         "json_fields(data, paths, /)\n--\n\n"
         "The exact bytes of each field named by a dotted path, None where there is none. RejectedError when data\n"
         "is no JSON.")},
    {NULL, NULL, 0, NULL},
};

int kp_python_add_json(PyObject *module) {
    return PyModule_AddFunctions(module, methods);
}
