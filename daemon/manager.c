/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The manager: one loop, one tick. PSI triggers, outcomes and timers never act: they queue what they know
 * and wake the tick, which samples, lets the engine decide, and hands its plan to act.
 *
 * At rest one timer is armed, the heartbeat; a tick between two heartbeats exists only because the engine
 * asked for it or the kernel woke us. */

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/str.h"
#include "manager-internal.h"
#include "model/bus.h"
#include "policy/compile.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/policy-files.h"
#include "sys/unit.h"

/* Heartbeats. */
#define SCAN_EVERY 6
/* So long after one BPF feature was asked for the next one is. */
#define LOADING_USEC USEC_PER_SEC
/* In a second; of the journal's 64 places. */
#define OOM_LINES_MAX 10
/* On exit everything must be back within 2 s (DefaultTimeoutStopSec is far longer). */
#define RELEASE_USEC (1500 * USEC_PER_MSEC)
/* Who holds the lock may be a `cgd --release` that is done in a moment, or a dead cgd's thread that hangs in the kernel:
 * then this makes the tries so few that systemd does not give up (StartLimitBurst=). */
#define LOCK_USEC (2 * USEC_PER_SEC)

void manager_wake(Manager *m) {
        (void) sd_event_source_set_enabled(m->wake, SD_EVENT_ONESHOT);
}

static void tell_oom_rest(Manager *m, uint64_t now) {
        if (m->oom_untold == 0 || now - m->oom_usec < USEC_PER_SEC)
                return;
        journal_say(m->journal, MESSAGE_OOM, LOG_WARNING,
                    "The kernel killed %" PRIu64 " more processes for want of memory; 'journalctl -k' names them.",
                    m->oom_untold);
        m->oom_untold = 0;
}

/* The kernel came first. Whom it killed is told at once, for in a moment the process is no more. Where it kills hundreds
 * together (memory.oom.group) their lines would take the places of those about what is done. */
static void tell_oom(Manager *m, uint32_t pid, uint64_t now) {
        char path[4096], name[64];
        const Domain *d;

        tell_oom_rest(m, now);
        if (now - m->oom_usec >= USEC_PER_SEC) {
                m->oom_usec = now;
                m->oom_lines = 0;
        }
        if (m->oom_lines == OOM_LINES_MAX) {
                m->oom_untold++;
                return;
        }
        m->oom_lines++;
        if (sensor_process(m->sensor, pid, path, sizeof(path), name, sizeof(name)) < 0) {
                journal_oom(m->journal, pid, "", "", "");
                return;
        }
        d = policy_domain_of(m->policy, path);
        journal_oom(m->journal, pid, name, path, d ? d->name : "");
}

static void on_event(const Event *event, void *userdata) {
        Manager *m = userdata;

        if (event->type == EVENT_OOM)
                tell_oom(m, event->pid, event->usec);
        if (m->n_events < EVENTS_MAX)
                m->events[m->n_events++] = *event;
        else
                m->events_dropped++;    /* the same trouble, said 256 times within one tick */
        manager_wake(m);
}

static void on_outcome(const Outcome *outcome, void *userdata) {
        Manager *m = userdata;

        /* Places are never short: act has fewer actions under way than this. */
        if (m->n_outcomes < OUTCOMES_MAX)
                m->outcomes[m->n_outcomes++] = *outcome;
        manager_wake(m);
}

/* Incident ids go on across restarts, so that one id means one incident in the journal. */
static void incident_id_save(Manager *m, uint64_t id) {
        /* Over the one before, which has its page also where /run is full. */
        _cleanup_close_ int fd = openat(m->runtime_fd, "incident-id", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        int n = fd < 0 ? -1 : dprintf(fd, "%" PRIu64 "\n", id);

        if (n < 0 || ftruncate(fd, n) < 0)
                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING,
                            "%s/incident-id: cannot be written: %m; incident ids may repeat after a restart, ignoring.",
                            m->config.runtime_dir);
}

static uint64_t incident_id_load(Manager *m) {
        uint64_t id;

        return file_read_limit_at(m->runtime_fd, "incident-id", &id) == 0 && id < UINT64_MAX / 2 ? id + 1 : 1;
}

/* PID 1 reads its socket when it comes to it, and when that is full whoever writes waits: only what it does not know. */
static void tell_status(Manager *m) {
        EngineStatus s;

        engine_status(m->engine, &s);
        if (s.open_incidents == m->told_open && s.contained == m->told_contained)
                return;
        m->told_open = s.open_incidents;
        m->told_contained = s.contained;
        (void) sd_notifyf(false, "STATUS=%u open incidents, %u cgroups contained", s.open_incidents, s.contained);
}

static void tell_news(Manager *m) {
        const News *news;
        size_t n = engine_news(m->engine, &news);

        for (size_t k = 0; k < n; k++) {
                const Incident *i = engine_incident_by_id(m->engine, news[k].incident_id);
                IncidentEntryType t = news[k].entry.type;

                if (!i)
                        continue;
                journal_entry(m->journal, i, &news[k].entry);
                if (t == ENTRY_ALARM)
                        incident_id_save(m, i->id);
                server_incident_changed(m->server, i->id, t == ENTRY_ALARM ? "started" : t == ENTRY_CALM ? "over" :
                                                          t == ENTRY_ACTION ? "step" : "changed");
        }
        if (n > 0)
                tell_status(m);
}

static void on_hook(const Action *a, bool failed, const char *what, void *userdata) {
        Manager *m = userdata;

        journal_hook(m->journal, engine_incident_by_id(m->engine, a->incident_id), a, failed, what);
}

/* With the command, if any, that the domain wants run before it. */
static int submit_kill(Manager *m, const Action *a, int fd, const char *path) {
        const Domain *d = policy_domain_of(m->policy, path);
        _cleanup_strv_ char **argv = NULL;
        char unit[UNIT_LABEL_SIZE];

        if (!d || !d->contain.pre_kill_exec)
                return actor_submit(m->actor, a, fd, path);
        unit_label_of_cgroup(path, unit);
        if (command_split(d->contain.pre_kill_exec, unit, &argv) < 0) {
                on_hook(a, true, "PreKillExec= was not run: out of memory", m);
                return actor_submit(m->actor, a, fd, path);
        }
        return actor_submit_kill(m->actor, a, fd, argv, d->contain.pre_kill_timeout_usec, on_hook);
}

void manager_recheck_kill(Manager *m) {
        const Action *a = actor_waiting_kill(m->actor);
        const Domain *d;
        const char *path;
        int fd;

        if (!a || sensor_cgroup(m->sensor, a->cgroup_id, &fd, &path) < 0)
                return;
        d = policy_domain_of(m->policy, path);
        if (!d || !d->contain.steps[STEP_KILL] || !engine_may_contain(m->engine, path, MODE_ENFORCE))
                actor_call_off_kill(m->actor);
}

static void submit(Manager *m, const Action *a) {
        const char *path;
        int fd, r;

        r = sensor_cgroup(m->sensor, a->cgroup_id, &fd, &path);
        if (r >= 0)
                r = a->type == ACTION_KILL ? submit_kill(m, a, fd, path) : actor_submit(m->actor, a, fd, path);
        else if (a->type == ACTION_RESTORE)
                /* Out of sense's sight, but the lease holds a descriptor of its own. */
                r = actor_submit(m->actor, a, -EBADF, a->path);
        if (r < 0)
                on_outcome(&(Outcome) {
                        .action_id = a->id, .cgroup_id = a->cgroup_id, .type = a->type, .error = r,
                        .result = r == -ENOENT ? OUTCOME_GONE : OUTCOME_FAILED,
                        .started_usec = now_usec(CLOCK_MONOTONIC), .finished_usec = now_usec(CLOCK_MONOTONIC) }, m);
}

static void step(Manager *m, const Sample *sample) {
        Event events[EVENTS_MAX];
        Outcome outcomes[OUTCOMES_MAX];
        const char *path;
        int fd;
        EngineInput input = {
                .now_usec = now_usec(CLOCK_MONOTONIC), .sample = sample,
                .events = events, .n_events = m->n_events, .outcomes = outcomes, .n_outcomes = m->n_outcomes,
        };

        memcpy(events, m->events, m->n_events * sizeof(Event));
        memcpy(outcomes, m->outcomes, m->n_outcomes * sizeof(Outcome));
        m->n_events = m->n_outcomes = 0;

        engine_step(m->engine, m->policy, &input, &m->plan);
        /* Held for an action that is to come: so it is in every sample, with its limits. */
        if (m->plan.close_id != 0)
                (void) sensor_cgroup(m->sensor, m->plan.close_id, &fd, &path);
        for (size_t i = 0; i < m->plan.n_actions; i++)
                submit(m, &m->plan.actions[i]);
        for (size_t i = 0; i < input.n_events; i++)
                if (events[i].type == EVENT_RELOADED)
                        actor_reassert(m->actor);
        tell_news(m);
}

static int bus_connect(Manager *m);

static void on_scanned(int r, const char *message, void *userdata) {
        Manager *m = userdata;

        if (r < 0)
                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING, "%s", message ?: strerror(-r));
}

/* While somebody is hurt the loop must not wait: a raw move does, for whoever forks. */
static void on_exec(const ExecEvent *event, void *userdata) {
        Manager *m = userdata;

        if (place_exec(m->placer, event, !m->plan.trouble, on_scanned, m) < 0)
                m->scan_due = true;
}

static int placement_set(Manager *m, const Policy *policy) {
        ExecFilter filter;
        int r;

        m->scan_due = true;
        r = placer_set_policy(m->placer, policy);
        if (placer_hangs(m->placer)) {
                _cleanup_free_ char *path = str_escape(placer_hangs(m->placer));

                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING,
                            "Executable=%s: a file system does not answer, so it is not known whether this is a link; it and those"
                            " after it are taken as they are until the next reload.", path ?: "");
        }
        placer_exec_filter(m->placer, &filter);
        sensor_set_exec(m->sensor, &filter, on_exec, m);
        return r;
}

static void tell_level(Manager *m) {
        SensorLevel l;

        sensor_level(m->sensor, &l);
        if (!l.settled || l.level == m->told_level)
                return;
        m->told_level = l.level;
        if (l.level >= 2)
                journal_say(m->journal, MESSAGE_SENSING, LOG_INFO,
                            "Sensing at level 2: %zu cgroups in one walk of %" PRIu64 " us, %zu KiB of maps%s%s.",
                            l.cgroups, l.cost_usec, l.bytes >> 10, *l.reason ? "; " : "", l.reason);
        else
                journal_say(m->journal, MESSAGE_SENSING, LOG_NOTICE,
                            "Sensing at level 1, from files alone, which costs more and sees the same: %s.", l.reason);
}

static void heartbeat(Manager *m) {
        m->heartbeat_usec = now_usec(CLOCK_MONOTONIC);
        tell_level(m);
        /* It takes a second of a processor and 20 MiB: not in the middle of trouble, nor while everything starts. */
        if (!m->plan.trouble && sensor_load_bpf(m->sensor, m->config.bpf_loader))
                m->plan.next_usec = MIN(m->plan.next_usec, m->heartbeat_usec + LOADING_USEC);
        if (!m->bus)
                (void) bus_connect(m);
        /* Programs are seen as they start; now and then who became another user without starting one is looked for. */
        if (sensor_has_lost_exec(m->sensor) || m->scan_due || m->heartbeat_usec - m->scan_usec >= SCAN_EVERY * m->config.heartbeat_usec) {
                m->scan_usec = m->heartbeat_usec;
                m->scan_due = place_scan(m->placer, on_scanned, m) < 0;
        }
}

static void tick(Manager *m) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        tell_oom_rest(m, now);
        if (now >= m->plan.next_usec) {
                bool all = m->plan.sample_all;
                const Sample *s = sensor_sample(
                        m->sensor, all ? SAMPLE_ALL : m->plan.sample_cgroups ? SAMPLE_HOT : SAMPLE_HOST, now);

                if (s->n_cgroups > 0)
                        ledger_add(&m->ledger, s->credit);
                step(m, s);
                if (all)
                        heartbeat(m);
        } else
                step(m, NULL);

        /* What comes before the heartbeat is wanted on time; the heartbeat may share a wakeup. */
        (void) sd_event_source_set_time(m->timer, m->plan.next_usec);
        (void) sd_event_source_set_time_accuracy(
                m->timer, m->plan.next_usec > now + 5 * USEC_PER_SEC ? USEC_PER_SEC : USEC_PER_MSEC);
        (void) sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        tick(userdata);
        return 0;
}

static int on_wake(sd_event_source *s _unused_, void *userdata) {
        tick(userdata);
        return 0;
}

/* Policy */

/* With ret_left_out, for the start: what can be put into force is, it names the rest, and 1 is returned. Where something is refused
 * the diagnostics are its faults alone: the journal has room for few lines. */
static int policy_load(Policy **ret, char ***ret_left_out, char **ret_diagnostics) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_policy_sources_ PolicySources sources = {};
        int r;

        r = policy_files_load(&policy_paths, &d, &sources);
        if (r >= 0 && ret_left_out)
                r = policy_compile_sound(sources.items, sources.n_items, &d, &p, ret_left_out);
        else if (r >= 0)
                r = policy_compile(sources.items, sources.n_items, &d, &p);
        if (diagnostics_format(&d, d.n_errors > 0 ? SEVERITY_ERROR : SEVERITY_WARNING, ret_diagnostics) < 0)
                *ret_diagnostics = NULL;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return d.n_errors > 0;
}

/* The texts of a policy set are gone once it is compiled; their pages must not stay locked for good. */
static void memory_trim(void) {
        (void) malloc_trim(0);
}

/* So many lines leave room for others in what waits for the journal. */
#define DIAGNOSTIC_LINES_MAX 20

/* A line each. */
static void say_diagnostics(Manager *m, MessageKind kind, int priority, const char *diagnostics) {
        const char *line = diagnostics;

        if (!line)
                return;
        for (unsigned n = 0; *line && n < DIAGNOSTIC_LINES_MAX; n++) {
                size_t length = strcspn(line, "\n");

                journal_say(m->journal, kind, priority, "%.*s", (int) length, line);
                line += length + (line[length] == '\n');
        }
        if (*line)
                journal_say(m->journal, kind, priority, "… and more, see 'cgctl verify'.");
}

typedef struct ReloadAnswer {
        Manager *manager;
        ServerRequest *request;         /* NULL: by SIGHUP, or at the start */
        bool starting;                  /* the generator has run at boot */
        char *text;
} ReloadAnswer;

static void reload_answer(ReloadAnswer *a, int r, const char *text) {
        if (a->request)
                server_request_done(a->request, r, text);
        free(a->text);
        free(a);
}

static void on_moves(int r, const char *message, const PlaceMove *moves, size_t n_moves, void *userdata) {
        ReloadAnswer *a = userdata;
        _cleanup_str_ Str s = {};
        _cleanup_free_ char *text = NULL;

        str_append(&s, a->text ?: "");
        if (r < 0) {
                str_append(&s, "Which running units would move is not known: ");
                str_append_escaped(&s, message ?: strerror(-r));
                str_append(&s, "\n");
        }
        for (size_t i = 0; i < n_moves; i++) {
                str_append_escaped(&s, moves[i].unit);
                str_appendf(&s, ": in %s, would move to %s at its next start (now: cgctl place %s)\n", moves[i].from,
                            moves[i].to, moves[i].unit);
        }
        r = str_finish(&s, &text);
        reload_answer(a, r, text);
}

/* systemd has run the generator again: from now on services start in their new places. */
static void on_generated(int r, const char *message, void *userdata) {
        ReloadAnswer *a = userdata;

        if (r < 0 && !a->request)
                journal_say(a->manager->journal, MESSAGE_ACTION_FAILED, LOG_WARNING, "systemd was not reloaded: %s", message ?: strerror(-r));
        if (r < 0) {
                on_moves(r, message, NULL, 0, a);
                return;
        }
        r = place_would_move(a->manager->placer, on_moves, a);
        if (r < 0)
                on_moves(r, "the system bus is not connected", NULL, 0, a);
}

static void on_applied(int r, const char *message, void *userdata) {
        ReloadAnswer *a = userdata;
        _cleanup_str_ Str s = {};

        if (r < 0) {
                journal_say(a->manager->journal, MESSAGE_ACTION_FAILED, LOG_WARNING, "%s", message ?: strerror(-r));
                str_append(&s, a->text ?: "");
                str_append(&s, message ?: strerror(-r));
                str_append(&s, "\n");
                free(a->text);
                if (str_finish(&s, &a->text) < 0)
                        a->text = NULL;
        }
        if (a->starting) {
                reload_answer(a, 0, NULL);
                return;
        }
        r = a->manager->bus ? unit_reload_manager(a->manager->bus, on_generated, a, NULL) : -ENOTCONN;
        if (r < 0)
                on_generated(r, "systemd was not reloaded: the system bus is not connected", a);
}

/* They name a domain of the old set by its place, where the new one has another. */
static void drop_pressure(Manager *m) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_events; i++)
                if (m->events[i].type != EVENT_PRESSURE)
                        m->events[n++] = m->events[i];
        m->n_events = n;
}

/* Puts a compiled set into force. request may be NULL. */
static void policy_enforce(Manager *m, Policy *p, ServerRequest *request, const char *warnings) {
        Policy *old = m->policy;
        ReloadAnswer *a = calloc(1, sizeof(ReloadAnswer));
        _cleanup_str_ Str s = {};
        int r;

        m->policy = p;
        drop_pressure(m);
        m->loaded_usec = now_usec(CLOCK_MONOTONIC);
        free(m->refused);
        m->refused = NULL;
        m->left_out = strv_free(m->left_out);
        r = sensor_set_policy(m->sensor, p);
        if (r < 0)
                journal_say(m->journal, MESSAGE_PSI_MISSING, LOG_WARNING, "Cannot set the pressure triggers: %s", strerror(-r));
        r = placement_set(m, p);
        if (r < 0)
                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING, "Cannot set up placement: %s", strerror(-r));
        if (old) {
                step(m, NULL);          /* the engine lets go of the old set while it still exists */
                policy_free(old);
        }
        manager_recheck_kill(m);
        journal_say(m->journal, MESSAGE_LOADED, LOG_INFO, "Policy set loaded: %zu domains.", p->n_domains);

        if (!a) {
                if (request)
                        server_request_done(request, -ENOMEM, NULL);
                return;
        }
        str_append(&s, warnings ?: "");
        str_appendf(&s, "%zu domains in force\n", p->n_domains);
        *a = (ReloadAnswer) { .manager = m, .request = request };
        if (str_finish(&s, &a->text) < 0)
                a->text = NULL;
        r = place_apply_resources(m->placer, on_applied, a);
        if (r < 0)
                on_applied(r, "The slices' resources were not applied: the system bus is not connected", a);
        manager_wake(m);
}

static void reload_refused(ServerRequest *request, const char *why) {
        _cleanup_free_ char *text = NULL;
        size_t n = strlen(why ?: "");

        if (asprintf(&text, "the policies are refused, and those in force stay:\n%.*s", (int) (n > 0 && why[n - 1] == '\n' ? n - 1 : n),
                     why ?: "") < 0)
                text = NULL;
        server_request_done(request, -EBADMSG, text);
}

void manager_reload(Manager *m, ServerRequest *request) {
        _cleanup_free_ char *diagnostics = NULL;
        Policy *p = NULL;
        int r;

        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
        r = policy_load(&p, NULL, &diagnostics);
        (void) sd_notify(false, "READY=1");
        if (r < 0) {
                free(m->refused);
                m->refused = strdup(diagnostics && *diagnostics ? diagnostics : strerror(-r));
                journal_say(m->journal, MESSAGE_REFUSED, LOG_ERR, "The policy set is refused, the old one stays in force:");
                say_diagnostics(m, MESSAGE_REFUSED, LOG_ERR, m->refused);
                if (request)
                        reload_refused(request, m->refused);
                return;
        }
        if (!request)
                say_diagnostics(m, MESSAGE_LOADED, LOG_WARNING, diagnostics);
        policy_enforce(m, p, request, diagnostics);
        memory_trim();
}

/* The bus */

static void bus_drop(Manager *m) {
        /* What is under way ends with it and asks nothing more of it, but its answers still go out by it. */
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = TAKE_PTR(m->bus);

        if (!bus)
                return;
        (void) server_attach_system_bus(m->server, NULL);
        actor_set_bus(m->actor, NULL);
        placer_set_bus(m->placer, NULL);
}

static int on_disconnected(sd_bus_message *msg _unused_, void *userdata, sd_bus_error *error _unused_) {
        bus_drop(userdata);             /* the heartbeat connects again */
        return 0;
}

static int on_reloading(sd_bus_message *msg, void *userdata, sd_bus_error *error _unused_) {
        Manager *m = userdata;
        int active;

        if (sd_bus_message_read(msg, "b", &active) < 0)
                return 0;
        if (active)
                actor_expect_reload(m->actor);
        else
                on_event(&(Event) { .type = EVENT_RELOADED, .usec = now_usec(CLOCK_MONOTONIC) }, userdata);
        return 0;
}

/* As sd_bus_open_system(), but without descriptors: anybody may send one, and to close that may wait, beyond a SIGKILL, for
 * whoever serves its file system. */
static int bus_open(sd_bus **ret) {
        const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS") ?: "unix:path=/run/dbus/system_bus_socket";
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r = sd_bus_new(&bus);

        if (r >= 0)
                r = sd_bus_set_description(bus, "cgd");
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, false);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

/* What is sent to one connection alone never met a match of ours, so the broker did not look whether its sender is who the
 * match names: anybody can have systemd seem to reload. What systemd tells is for all. */
static int on_message(sd_bus_message *msg, void *userdata _unused_, sd_bus_error *error _unused_) {
        return sd_bus_message_is_signal(msg, NULL, NULL) > 0 && sd_bus_message_get_destination(msg);
}

/* Never waits: connecting, authentication and the calls below happen on the loop. */
static int bus_connect(Manager *m) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = bus_open(&bus);
        if (r < 0)
                return r;
        (void) sd_bus_set_exit_on_disconnect(bus, false);
        /* Before the loop ends it would be flushed, for as long as that takes. */
        (void) sd_bus_set_close_on_exit(bus, false);
        /* In turns with the tick: whoever calls without end must not keep it waiting. */
        r = sd_bus_attach_event(bus, m->event, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        r = sd_bus_add_filter(bus, NULL, on_message, NULL);
        if (r < 0)
                return r;
        r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                      "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL, m);
        if (r < 0)
                return r;
        r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                      "org.freedesktop.systemd1.Manager", "Reloading", on_reloading, NULL, m);
        if (r < 0)
                return r;
        /* systemd tells nobody about reloads until somebody subscribes. */
        r = sd_bus_call_method_async(bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                     "org.freedesktop.systemd1.Manager", "Subscribe", NULL, NULL, NULL);
        if (r < 0)
                return r;
        m->bus = TAKE_PTR(bus);
        actor_set_bus(m->actor, m->bus);
        placer_set_bus(m->placer, m->bus);
        r = server_attach_system_bus(m->server, m->bus);
        if (r < 0)
                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING,
                            "org.cgd1: cannot be offered on the system bus: %s; cgctl uses %s instead.", strerror(-r),
                            CGD_SOCKET);
        return 0;
}

/* Start and end */

static int on_signal(sd_event_source *s _unused_, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;

        if (si->ssi_signo == SIGHUP)
                manager_reload(m, NULL);
        else
                (void) sd_event_exit(m->event, 0);
        return 0;
}

static int fail(int r, const char *what) {
        (void) fprintf(stderr, "<3>cgd: %s: %s\n", what, strerror(-r));
        return r;
}

static int hierarchy_check(const char *root) {
        CgroupHierarchy h;
        int r = cgroup_hierarchy(root, &h);

        if (r < 0)
                return fail(r, "cannot tell what is mounted at /sys/fs/cgroup");
        switch (h) {
        case HIERARCHY_UNIFIED:
                return 0;
        case HIERARCHY_HYBRID:
        case HIERARCHY_LEGACY:
                (void) fprintf(stderr, "<3>cgd: this machine uses cgroup v1 (%s hierarchy): its memory and io controllers cannot "
                                       "be used. Boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line.\n",
                               h == HIERARCHY_HYBRID ? "hybrid" : "legacy");
                return -EOPNOTSUPP;
        case HIERARCHY_NONE:
                (void) fprintf(stderr, "<3>cgd: no cgroup2 file system at %s. cgd needs one with the memory controller.\n", root);
                return -EOPNOTSUPP;
        }
        return -EOPNOTSUPP;
}

static int lock_take(Manager *m) {
        uint64_t until = now_usec(CLOCK_MONOTONIC) + LOCK_USEC;

        while ((m->lock_fd = file_lock_at(m->runtime_fd, "lock")) == -EBUSY && now_usec(CLOCK_MONOTONIC) < until)
                (void) nanosleep(&(struct timespec) { .tv_nsec = 50000000 }, NULL);
        if (m->lock_fd == -EBUSY)
                (void) fprintf(stderr, "<3>cgd: another cgd is running already ('systemctl status cgd'); leaving.\n");
        else if (m->lock_fd < 0)
                return fail(m->lock_fd, "cannot lock its lock file");
        return MIN(m->lock_fd, 0);
}

/* Leases of a cgd before: taken over where the cgroup still is, to be lifted by the usual rules. */
static void adopt(Manager *m) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        const Lease *l;

        for (size_t i = 0; (l = actor_lease(m->actor, i)); i++) {
                const char *path;
                int fd, r;

                r = sensor_cgroup(m->sensor, l->cgroup_id, &fd, &path);
                if (r >= 0)
                        r = engine_adopt(m->engine, now, l, path);
                if (r >= 0)
                        tell_news(m);
                else
                        (void) actor_give_back(m->actor, l->cgroup_id);
        }
}

static int sources_add(Manager *m) {
        int r;

        r = sd_event_add_time(m->event, &m->timer, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_timer, m);
        if (r < 0)
                return r;
        r = sd_event_add_defer(m->event, &m->wake, on_wake, m);
        if (r < 0)
                return r;
        /* After all else of one turn of the loop, so that what came together is decided together. */
        r = sd_event_source_set_priority(m->wake, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(m->wake, SD_EVENT_OFF);
        if (r < 0)
                return r;
        static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                r = sd_event_add_signal(m->event, NULL, signals[i], on_signal, m);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int signals_block(void) {
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGHUP);
        /* Before any thread is made: each inherits the mask, and only the loop takes signals. */
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int manager_start(Manager *m) {
        _cleanup_free_ char *diagnostics = NULL, *leases = NULL;
        Policy *p = NULL;
        int r;

        /* A large message of anybody's goes back whole: after the first, malloc would keep as much, and that is locked. */
        (void) mallopt(M_MMAP_THRESHOLD, 128 * 1024);
        r = signals_block();
        if (r < 0)
                return fail(r, "cannot block signals");
        r = sd_event_new(&m->event);
        if (r < 0)
                return fail(r, "cannot make an event loop");
        r = sources_add(m);
        if (r < 0)
                return fail(r, "cannot add its event sources");
        r = journal_new(&m->journal);
        if (r < 0)
                return fail(r, "cannot start the journal's thread");
        r = engine_new(&(EngineConfig) { .page_bytes = (uint64_t) sysconf(_SC_PAGESIZE),
                                         .heartbeat_usec = m->config.heartbeat_usec,
                                         .first_incident_id = incident_id_load(m) }, &m->engine);
        if (r < 0)
                return fail(r, "cannot make the engine");
        r = sensor_new(m->event, m->config.cgroup_root, m->config.proc, on_event, m, &m->sensor);
        if (r < 0)
                return fail(r, "cannot open /sys/fs/cgroup and /proc for sampling");
        if (asprintf(&leases, "%s/leases", m->config.runtime_dir) < 0)
                return fail(-ENOMEM, "cannot name its lease file");
        r = actor_new(m->event, m->config.cgroup_root, leases, on_outcome, m, &m->actor);
        if (r < 0)
                return fail(r, "cannot open the lease file (is /run full or read-only?), or a cgroup that it names");
        r = placer_new(m->event, m->config.proc, m->config.cgroup_root, "/run/systemd", &m->placer);
        if (r < 0)
                return fail(r, "cannot set up placement");
        r = server_new(m->event, &manager_operations, m, &m->server);
        if (r < 0)
                return fail(r, "cannot make the bus server");

        r = policy_load(&p, &m->left_out, &diagnostics);
        if (r != 0) {
                m->refused = strdup(diagnostics && *diagnostics ? diagnostics : strerror(-r));
                journal_say(m->journal, MESSAGE_REFUSED, LOG_ERR, "Policies are refused; until 'cgctl reload' succeeds %s:",
                            r < 0 ? "nothing is guarded" : "only the others are in force");
                say_diagnostics(m, MESSAGE_REFUSED, LOG_ERR, m->refused);
                p = p ?: calloc(1, sizeof(Policy));
                if (!p)
                        return fail(-ENOMEM, "cannot make an empty policy");
        } else
                say_diagnostics(m, MESSAGE_LOADED, LOG_WARNING, diagnostics);
        m->policy = p;
        r = sensor_set_policy(m->sensor, p);
        if (r < 0)
                (void) fail(r, "cannot set the pressure triggers");
        (void) placement_set(m, p);
        m->loaded_usec = m->started_usec = now_usec(CLOCK_MONOTONIC);

        /* Before anything that is told of: what is taken over is not told a second time. */
        (void) sd_notifyf(false, "STATUS=%zu domains", policy_n_in_force(p));
        step(m, sensor_sample(m->sensor, SAMPLE_ALL, now_usec(CLOCK_MONOTONIC)));
        adopt(m);
        r = server_listen(m->server, CGD_SOCKET);
        if (r < 0)
                (void) fail(r, "cannot listen at " CGD_SOCKET "; cgctl will need the system bus");
        if (bus_connect(m) >= 0) {
                ReloadAnswer *a = calloc(1, sizeof(ReloadAnswer));

                if (a) {
                        *a = (ReloadAnswer) { .manager = m, .starting = true };
                        r = place_apply_resources(m->placer, on_applied, a);
                        if (r < 0)
                                on_applied(r, NULL, a);
                }
        }
        if (sensor_psi_state(m->sensor) != PSI_FULL)
                journal_say(m->journal, MESSAGE_PSI_MISSING, LOG_WARNING,
                            "Pressure triggers are %s: alarms come later; 'cgctl check' tells why.",
                            psi_state_to_string(sensor_psi_state(m->sensor)));
        /* By whatever wakes the loop; a timer of its own comes at half of WatchdogSec= at the earliest, which is after the next
         * heartbeat unless --heartbeat= is long. */
        r = sd_event_set_watchdog(m->event, true);
        if (r < 0)
                return fail(r, "cannot feed the watchdog");
        memory_trim();
        manager_wake(m);
        return 0;
}

int manager_new(const ManagerConfig *config, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        r = hierarchy_check(config->cgroup_root);
        if (r < 0)
                return r;
        m = calloc(1, sizeof(Manager));
        if (!m)
                return fail(-ENOMEM, "cannot start");
        m->config = *config;
        m->lock_fd = -EBADF;
        (void) mkdir(config->runtime_dir, 0755);
        m->runtime_fd = open(config->runtime_dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (m->runtime_fd < 0)
                return fail(-errno, "cannot open /run/cgd");
        r = lock_take(m);
        if (r < 0)
                return r;
        r = manager_start(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        if (m->server)
                bus_drop(m);
        server_free(m->server);
        placer_free(m->placer);
        actor_free(m->actor);
        sensor_free(m->sensor);
        engine_free(m->engine);
        journal_free(m->journal);
        policy_free(m->policy);
        sd_event_source_disable_unref(m->timer);
        sd_event_source_disable_unref(m->wake);
        sd_event_unref(m->event);
        free(m->refused);
        strv_free(m->left_out);
        safe_close(m->lock_fd);
        safe_close(m->runtime_fd);
        free(m);
        return NULL;
}

int manager_run(Manager *m) {
        int r, left;

        journal_say(m->journal, MESSAGE_STARTED, LOG_INFO, "cgd " CGD_VERSION " guards %zu domains.", policy_n_in_force(m->policy));
        (void) sd_notify(false, "READY=1");
        r = sd_event_loop(m->event);
        (void) sd_notify(false, "STOPPING=1\nSTATUS=giving everything back");
        left = actor_release_all(m->actor, RELEASE_USEC);
        if (left > 0)
                journal_say(m->journal, MESSAGE_ACTION_FAILED, LOG_WARNING,
                            "cgd has stopped; %d changes could not be given back in time, ExecStopPost= tries again.", left);
        else
                journal_say(m->journal, MESSAGE_STOPPED, LOG_INFO, "cgd has stopped; everything is given back.");
        return r;
}
