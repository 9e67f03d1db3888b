/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "sense/life.h"

_Static_assert(EXEC_USERS_MAX == LIFE_USERS_MAX && EXEC_NAMES_MAX == LIFE_NAMES_MAX && EXEC_NAME_SIZE == LIFE_NAME_SIZE,
               "the same room");

static size_t control_bytes(void) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);

        return (sizeof(LifeControl) + page - 1) / page * page;
}

static int map_call(int command, int fd, const void *key, void *value) {
        union bpf_attr attr;

        memset(&attr, 0, sizeof attr);
        attr.map_fd = (uint32_t) fd;
        attr.key = (uint64_t) (uintptr_t) key;
        if (command == BPF_MAP_GET_NEXT_KEY)
                attr.next_key = (uint64_t) (uintptr_t) value;
        else
                attr.value = (uint64_t) (uintptr_t) value;
        return syscall(SYS_bpf, command, &attr, sizeof attr) < 0 ? -errno : 0;
}

static void map_clear(int fd, void *key) {
        while (map_call(BPF_MAP_GET_NEXT_KEY, fd, NULL, key) == 0 && map_call(BPF_MAP_DELETE_ELEM, fd, key, NULL) == 0)
                ;
}

static int map_set(int fd, const void *key) {
        uint8_t one = 1;

        return map_call(BPF_MAP_UPDATE_ELEM, fd, key, &one);
}

/* In between all starts are told: better one too many. */
static int apply(Life *l) {
        LifeName name;
        uint32_t uid;
        int r = 0;

        __atomic_store_n(&l->control->all, 1, __ATOMIC_RELEASE);
        map_clear(l->users_fd, &uid);
        map_clear(l->names_fd, &name);
        for (size_t i = 0; i < l->filter.n_uids && r >= 0; i++)
                r = map_set(l->users_fd, &l->filter.uids[i]);
        for (char *const *n = l->filter.names; n && *n && r >= 0; n++) {
                memset(&name, 0, sizeof name);
                (void) snprintf(name.text, sizeof name.text, "%s", *n);
                r = map_set(l->names_fd, &name);
        }
        if (r >= 0 && !l->filter.all)
                __atomic_store_n(&l->control->all, 0, __ATOMIC_RELEASE);
        return r;
}

static void on_start(const void *data, size_t size, void *userdata) {
        const LifeExec *e = data;
        Life *l = userdata;

        if (size >= sizeof *e)
                l->handler(&(ExecEvent) { .pid = e->pid, .uid = e->uid, .usec = e->nsec / 1000 }, l->userdata);
}

void life_unload(Life *l) {
        ring_close(&l->starts);
        if (l->control)
                (void) munmap(l->control, control_bytes());
        l->control = NULL;
        l->link_fd = safe_close(l->link_fd);
        l->users_fd = safe_close(l->users_fd);
        l->names_fd = safe_close(l->names_fd);
}

static int adopt(int *fds, void *userdata) {
        Life *l = userdata;
        void *p;
        int r;

        p = mmap(NULL, control_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fds[LIFE_CONTROL], 0);
        if (p == MAP_FAILED)
                return -errno;
        l->control = p;
        l->link_fd = TAKE_FD(fds[LIFE_LINK]);
        l->users_fd = TAKE_FD(fds[LIFE_USERS]);
        l->names_fd = TAKE_FD(fds[LIFE_NAMES]);
        r = ring_open(&l->starts, l->loading.event, TAKE_FD(fds[LIFE_RING]), LIFE_RING_BYTES, on_start, l);
        if (r < 0)
                life_unload(l);
        else
                (void) apply(l);
        return r;
}

int life_init(Life *l, sd_event *event, const char *loader, SensorExecHandler handler, void *userdata) {
        *l = (Life) { .link_fd = -EBADF, .users_fd = -EBADF, .names_fd = -EBADF, .starts = RING_NONE,
                      .handler = handler, .userdata = userdata };
        return loading_init(&l->loading, event, loader, adopt, l);
}

void life_done(Life *l) {
        life_unload(l);
        loading_done(&l->loading);
}

int life_load(Life *l) {
        return l->control ? 0 : loading_start(&l->loading, "life", NULL, _LIFE_FD_MAX);
}

int life_set(Life *l, const ExecFilter *f) {
        l->filter = *f;
        return l->control ? apply(l) : 0;
}

bool life_has_lost(Life *l) {
        uint64_t lost = l->control ? __atomic_load_n(&l->control->lost, __ATOMIC_RELAXED) : 0;
        bool any = lost != l->lost;

        l->lost = lost;
        return any;
}
