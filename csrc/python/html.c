/* What objects look like in a notebook: kafkapipe._html makes it, imported when the first one is shown. */
#include "python/module.h"

PyObject *kp_python_html(const char *maker, PyObject *object) {
    PyObject *html = PyImport_ImportModule("kafkapipe._html");
    PyObject *text = html ? PyObject_CallMethod(html, maker, "(O)", object) : NULL;
    Py_XDECREF(html);
    return text;
}
