/* Named places where the debug build can be killed or stopped, for the tests under tests/faults. In every other build
 * KP_FAIL_POINT is nothing: neither the names nor the code are in the extension.
 *
 * KAFKAPIPE_FAIL_POINT=NAME:N kills the process (SIGKILL) when a thread comes to NAME for the N-th time;
 * NAME:N:stop stops it there (SIGSTOP), as a debugger or a suspended virtual machine would. Any thread.
 */
#ifndef KP_CORE_FAIL_POINT_H
#define KP_CORE_FAIL_POINT_H

#ifdef KAFKAPIPE_FAIL_POINTS
void kp_fail_point(const char *name);
#define KP_FAIL_POINT(name) kp_fail_point(name)
#else
#define KP_FAIL_POINT(name) ((void)0)
#endif

#endif
