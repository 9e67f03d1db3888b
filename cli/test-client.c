/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A cgd that is there and does not answer is waited for no longer than the caller can afford. */

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <systemd/sd-id128.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "cli.h"

/* Much less than minutes. */
#define LIMIT_SECONDS 10

static char told[256];

void cli_error(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(told, sizeof(told), format, ap);
        va_end(ap);
}

static int take(_unused_ sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *e) {
        return 1;
}

static int know_nothing(sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *e) {
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method.");
}

static sd_bus_message_handler_t answer;

/* Lets one caller in, and gives this answer to whatever he asks until he goes. */
static void *serve_one(void *arg) {
        sd_bus *bus = NULL;
        sd_id128_t id;
        int fd = accept4(*(int *) arg, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 || sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 || sd_id128_randomize(&id) < 0 ||
            sd_bus_set_server(bus, 1, id) < 0 || sd_bus_add_filter(bus, NULL, answer, NULL) < 0 || sd_bus_start(bus) < 0)
                abort();
        while (sd_bus_process(bus, NULL) >= 0 && sd_bus_is_open(bus) > 0)
                (void) sd_bus_wait(bus, UINT64_MAX);
        sd_bus_close(bus);
        sd_bus_unref(bus);
        return NULL;
}

/* What a caller is told. */
static void call_status(sd_bus_message_handler_t with) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        Cli cli = { .call_usec = 100 * USEC_PER_MSEC };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char dir[TEST_DIR_SIZE];
        pthread_t thread;

        answer = with;
        test_dir_make(dir);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/private", dir);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(pthread_create(&thread, NULL, serve_one, &fd), 0);
        cli.socket = address.sun_path;
        (void) alarm(LIMIT_SECONDS);
        assert_int_equal(client_call(&cli, NULL, "GetStatus", NULL, NULL), CLI_FAILED);
        assert_false(client_is_running(&cli));
        (void) alarm(0);
        sd_bus_close(cli.bus);
        sd_bus_unref(cli.bus);
        assert_int_equal(pthread_join(thread, NULL), 0);
        (void) close(fd);
        test_dir_remove(dir);
}

static void test_stands_still(void **state _unused_) {
        call_status(take);
        assert_non_null(strstr(told, "did not answer GetStatus"));
}

/* One from before an update. */
static void test_other_version(void **state _unused_) {
        call_status(know_nothing);
        assert_non_null(strstr(told, "another version"));
}

/* One that stands still altogether does not even greet. It is there, though: nobody is told to start it. */
static void test_greets_nobody(void **state _unused_) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        Cli cli = { .call_usec = 100 * USEC_PER_MSEC };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char dir[TEST_DIR_SIZE];

        test_dir_make(dir);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/private", dir);
        cli.socket = address.sun_path;
        assert_int_equal(client_find(&cli), -ESRCH);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(client_find(&cli), -ESRCH);
        assert_int_equal(listen(fd, 1), 0);
        (void) alarm(LIMIT_SECONDS);
        assert_int_equal(client_call(&cli, NULL, "GetStatus", NULL, NULL), CLI_FAILED);
        assert_int_equal(client_find(&cli), -ETIMEDOUT);
        (void) alarm(0);
        sd_bus_close(cli.bus);
        sd_bus_unref(cli.bus);
        (void) close(fd);
        test_dir_remove(dir);
}

/* Why it cannot be spoken to is not always that it does not run. */
static void test_cannot_ask(void **state _unused_) {
        char dir[TEST_DIR_SIZE], file[TEST_DIR_SIZE + 8];
        struct rlimit limit, none;
        Cli cli = { .socket = file };

        test_dir_make(dir);
        (void) snprintf(file, sizeof(file), "%s/x", dir);
        assert_int_equal(client_call(&cli, NULL, "GetStatus", NULL, NULL), CLI_FAILED);
        assert_non_null(strstr(told, "is not running"));

        test_sh("touch %s", file);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit) { .rlim_cur = 0, .rlim_max = limit.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(client_call(&cli, NULL, "GetStatus", NULL, NULL), CLI_FAILED);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_null(strstr(told, "is not running"));
        assert_non_null(strstr(told, strerror(EMFILE)));
        test_dir_remove(dir);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stands_still),
                cmocka_unit_test(test_other_version),
                cmocka_unit_test(test_greets_nobody),
                cmocka_unit_test(test_cannot_ask),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
