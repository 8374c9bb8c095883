/* The tests of the scanner on its code for processors without SSE2: that is compiled into this program, in place of the
 * library's.
 */
#define KP_JSON_PORTABLE
#include "../../csrc/core/json_scan.c"

#include "test_json_scan.c"
