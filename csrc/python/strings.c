/* Arrow capsules into columns: see strings.h. Their structs are moved out, as the interface asks for. */
#include "python/strings.h"

/* The method of this name; NULL without an exception when there is none. */
static PyObject *method_of(PyObject *object, const char *name) {
    PyObject *method = PyObject_GetAttrString(object, name);
    if (!method && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
    }
    return method;
}

static int refuse(const kp_error *err, const char *what) {
    if (err->status == KP_NOMEM) {
        PyErr_NoMemory();
    } else {
        PyErr_Format(PyExc_TypeError, "%s is %s", what, err->message);
    }
    return -1;
}

static int take_stream(kp_strings **out, PyObject *capsule, const char *what) {
    kp_error err;
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (!stream) {
        return -1;
    }
    if (!stream->release) {
        PyErr_Format(PyExc_ValueError, "%s is an Arrow stream that was read before", what);
        return -1;
    }
    kp_status st = kp_strings_from_stream(out, stream, &err);
    return st == KP_OK ? 1 : refuse(&err, what);
}

static int take_array(kp_strings **out, PyObject *pair, const char *what) {
    PyObject *schema_capsule;
    PyObject *array_capsule;
    kp_error err;
    if (!PyArg_ParseTuple(pair, "OO;__arrow_c_array__ gives two capsules", &schema_capsule, &array_capsule)) {
        return -1;
    }
    struct ArrowSchema *schema = PyCapsule_GetPointer(schema_capsule, "arrow_schema");
    struct ArrowArray *array = schema ? PyCapsule_GetPointer(array_capsule, "arrow_array") : NULL;
    if (!array) {
        return -1;
    }
    struct ArrowSchema own_schema = *schema;
    struct ArrowArray own_array = *array;
    schema->release = NULL;
    array->release = NULL;
    kp_status st = kp_strings_from_array(out, &own_schema, &own_array, &err);
    return st == KP_OK ? 1 : refuse(&err, what);
}

int kp_python_strings_take(kp_strings **out, PyObject *object, const char *what) {
    *out = NULL;
    if (PyList_Check(object) || PyTuple_Check(object)) {
        return 0;
    }
    bool streams = true;
    PyObject *method = method_of(object, "__arrow_c_stream__");
    if (!method && !PyErr_Occurred()) {
        streams = false;
        method = method_of(object, "__arrow_c_array__");
    }
    if (!method) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *given = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    int taken = !given ? -1 : streams ? take_stream(out, given, what) : take_array(out, given, what);
    Py_XDECREF(given);
    return taken;
}
