/* Memory: every allocation of the core goes through here, so that it is counted and the n-th one can be made to fail.
 * Any thread. Free with kp_free only.
 */
#ifndef KP_CORE_MEM_H
#define KP_CORE_MEM_H

#include <stddef.h>
#include <stdint.h>

void *kp_alloc(size_t size);                 /* owned by the caller; NULL when out of memory */
void *kp_calloc(size_t count, size_t size);  /* zeroed; NULL on overflow too */
void *kp_realloc(void *memory, size_t size); /* NULL leaves the old block alone */
char *kp_strdup(const char *text);
char *kp_strndup(const char *text, size_t length); /* copies length bytes and ends them with NUL */
void kp_free(void *memory);

/* Gives freed memory that the allocator keeps back to the system, where that can be asked for. Takes milliseconds. */
void kp_mem_trim(void);

int64_t kp_mem_live(void);      /* blocks that are alive now */
void kp_mem_fail_at(int64_t n); /* tests: the n-th allocation from now fails; 0 turns it off */

#endif
