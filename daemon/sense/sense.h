/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sense: PSI triggers and samples, from files (level 1) and from a walk in the kernel (level 2). Owns every
 * cgroup fd that is kept for reading. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macro.h"
#include "model/event.h"
#include "model/exec.h"
#include "model/sample.h"
#include "policy/policy.h"

typedef struct Sensor Sensor;

/* Called on the loop for each event; the manager queues it and wakes the tick. */
typedef void (*SensorHandler)(const Event *event, void *userdata);

/* Called on the loop for each program that the exec filter asks for, as it starts. */
typedef void (*SensorExecHandler)(const ExecEvent *event, void *userdata);

typedef enum SampleScope {
        SAMPLE_HOST,            /* /proc/meminfo and /proc/pressure only */
        SAMPLE_HOT,             /* host, and a top-down walk that descends only where intake or a domain's alarm is */
        SAMPLE_ALL,             /* host, and every cgroup: the heartbeat's baseline */
} SampleScope;

/* root: "/sys/fs/cgroup", proc: "/proc" (injected by tests). own_cgroup: cgd's own, protected. */
int sensor_new(sd_event *event, const char *root, const char *proc, SensorHandler handler, void *userdata,
               Sensor **ret);
Sensor *sensor_free(Sensor *s);
DEFINE_CLEANUP(Sensor *, sensor_free)

/* Has `loader` (cgd-bpf) load one BPF feature in the background: the memory watch, then what sees programs start (where
 * somebody asked for any), the walk, and the io credit (where an alarm asks about io). To be called when it is calm. True
 * as long as there is more to come; once all is there, or refused, nothing is done. What nobody asks for any more is taken out
 * of the kernel. What cannot be loaded is done from files, and sensor_level() says why. */
bool sensor_load_bpf(Sensor *s, const char *loader);

typedef struct SensorLevel {
        unsigned level;                 /* 1: files, 2: the walk */
        bool settled;                   /* no program is being loaded */
        const char *reason;             /* why not more, which fields come from files, or who is left out; "" = there is nothing to say */
        uint64_t cost_usec;             /* of the last walk, the flush of the statistics included; 0 at level 1 */
        uint64_t longest_usec;          /* of any walk yet: it waits for who makes or removes a cgroup */
        size_t cgroups;                 /* … that it saw */
        size_t bytes;                   /* of its maps */
        bool exec;                      /* programs are seen as they start */
        const char *exec_reason;        /* why not */
        bool watch;                     /* the kernel wakes us when memory falls fast */
        const char *watch_reason;       /* why not */
        uint64_t watch_woken;           /* times yet */
        uint64_t oom_kills;             /* of the kernel's, seen by it */
        bool credit;                    /* it is measured who waits for whom at the disks */
        const char *credit_reason;      /* why not */
        uint64_t credit_lost;           /* requests that were not counted for want of room */
        size_t credit_bytes;            /* of its map */
} SensorLevel;
/* reason is valid until the next sample. */
void sensor_level(const Sensor *s, SensorLevel *ret);

/* Sets the PSI triggers of the policy's active memory and io pressure conditions (for io also an early one, at half:
 * EVENT_IO_STIR), and the host's early trigger
 * (10 ms in 500 ms on /proc/pressure/memory -> EVENT_STIR). Slices that do not exist yet are tried again
 * at every SAMPLE_ALL. A trigger that cannot be had (no PSI, no right) is not fatal: see
 * sensor_psi_state(). Old triggers are closed off the loop's thread (closing waits for an RCU grace
 * period). */
int sensor_set_policy(Sensor *s, const Policy *policy);

/* Which programs the handler is to hear of from now on. The filter's arrays are borrowed until the next call. */
void sensor_set_exec(Sensor *s, const ExecFilter *f, SensorExecHandler handler, void *userdata);
/* True once after some of them were lost, or where none are seen at all: then they are to be looked for. */
bool sensor_has_lost_exec(Sensor *s);

/* Takes a sample; never fails as a whole: what cannot be read is absent. Borrowed until the next call. */
const Sample *sensor_sample(Sensor *s, SampleScope scope, uint64_t now_usec);

/* A held directory fd (borrowed) and full path of a cgroup in the last samples; -ENOENT where it is not
 * known. */
int sensor_cgroup(Sensor *s, uint64_t id, int *ret_fd, const char **ret_path);

/* Of a process its cgroup's path from the hierarchy's root, and its name as it is, unescaped. A negative errno where it is gone. */
int sensor_process(const Sensor *s, uint32_t pid, char *ret_path, size_t path_size, char *ret_name, size_t name_size);

typedef enum PsiState {
        PSI_FULL,               /* any window */
        PSI_COARSE,             /* windows of 2 s only: no CAP_SYS_RESOURCE */
        PSI_POLLED,             /* triggers refused: pressure is seen only in samples */
        PSI_OFF,                /* kernel without PSI or psi=0 */
} PsiState;
PsiState sensor_psi_state(const Sensor *s);
const char *psi_state_to_string(PsiState s);    /* "full" */
