/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The host's files: what is cut off is absent. */

#include "base/test.h"
#include "sys/procfs.h"

static void test_meminfo(void **state) {
        Sample s = {};
        uint64_t v;

        (void) state;
        meminfo_parse("MemTotal:        1000 kB\n"
                      "MemFree:          10 kB\n"
                      "MemAvailable:    500 kB\n"
                      "SwapCached:        1 kB\n"
                      "SwapTotal:         0 kB\n"
                      "SwapFree:         12 kB", &s);
        assert_true(sample_host_get(&s, HOST_MEMORY_TOTAL, &v));
        assert_int_equal(v, 1000 * 1024);
        assert_true(sample_host_get(&s, HOST_MEMORY_AVAILABLE, &v));
        assert_int_equal(v, 500 * 1024);
        assert_true(sample_host_get(&s, HOST_SWAP_TOTAL, &v));
        assert_int_equal(v, 0);
        assert_false(sample_host_get(&s, HOST_SWAP_FREE, &v));

        s = (Sample) {};
        meminfo_parse("MemTotal: 99999999999999999999 kB\nSwapTotal: x kB\nMemAvailable:  kB\nSwapFree: 5\n", &s);
        assert_int_equal(s.host_have, 0);
        meminfo_parse("", &s);
        assert_int_equal(s.host_have, 0);
}

static void test_vmstat(void **state) {
        Sample s = {};
        uint64_t v;

        (void) state;
        vmstat_parse("nr_free_pages 12\npgsteal_kswapd 100\npgsteal_direct 20\npgsteal_anon 7\n", &s);
        assert_true(sample_host_get(&s, HOST_PGSTEAL, &v));
        assert_int_equal(v, 120);

        s = (Sample) {};
        vmstat_parse("nr_free_pages 12\npgsteal_kswapd 100\npgsteal_direct 20", &s);
        vmstat_parse("nr_free_pages 12\npgsteal_direct 20\n", &s);
        vmstat_parse("nr_free_pages 12\npgsteal_kswapd x\npgsteal_direct 20\n", &s);
        vmstat_parse("", &s);
        assert_int_equal(s.host_have, 0);
}

static void test_proc_cgroup(void **state) {
        char buf[32] = "unchanged";

        (void) state;
        assert_int_equal(proc_cgroup_parse("12:memory:/x\n", buf, sizeof buf), -ENOENT);
        assert_int_equal(proc_cgroup_parse("0::/cut", buf, sizeof buf), -ENOENT);
        assert_int_equal(proc_cgroup_parse("0::/a.slice/a-name-that-is-longer-than-the-buffer.service\n", buf,
                                           sizeof buf), -ENOBUFS);
        assert_string_equal(buf, "unchanged");
        assert_int_equal(proc_cgroup_parse("1:name=systemd:/\n0::/a.slice/cgd.service\n", buf, sizeof buf), 0);
        assert_string_equal(buf, "/a.slice/cgd.service");
        assert_int_equal(proc_cgroup_parse("0::/\n", buf, sizeof buf), 0);
        assert_string_equal(buf, "/");
}

/* Whatever bytes come: no read past the end (sanitizers watch), and only what the grammar allows is taken. */
static void test_any_bytes(void **state) {
        static const char alphabet[] = "MemTotal:SwapFree: 0123456789 kB\n0::/\n";
        unsigned seed = 1;

        (void) state;
        for (unsigned i = 0; i < 20000; i++) {
                size_t n = (size_t) rand_r(&seed) % 96;
                char *text = malloc(n + 1);
                char path[32];
                Sample s = {};

                assert_non_null(text);
                for (size_t k = 0; k < n; k++)
                        text[k] = rand_r(&seed) % 8 ? alphabet[(size_t) rand_r(&seed) % (sizeof alphabet - 1)]
                                                    : (char) (rand_r(&seed) % 255 + 1);
                text[n] = 0;
                meminfo_parse(text, &s);
                vmstat_parse(text, &s);
                if (proc_cgroup_parse(text, path, sizeof path) == 0)
                        assert_int_equal(path[0], '/');
                free(text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_meminfo),
                cmocka_unit_test(test_vmstat),
                cmocka_unit_test(test_proc_cgroup),
                cmocka_unit_test(test_any_bytes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
