/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The state of cgd at a glance -> JSON. */

#include "base/units.h"
#include "serve/json.h"

static json_t *json_lines(const char *text) {
        json_t *a = json_array();

        for (const char *p = text ?: ""; *p;) {
                size_t n = strcspn(p, "\n");
                _cleanup_free_ char *line = strndup(p, n);

                if (!line)
                        json_out_of_memory();
                (void) json_array_append_new(a, json_text(line ?: ""));
                p += n + (p[n] == '\n');
        }
        return a;
}

/* Where the set came from: the directories of all files, each once. */
static json_t *json_directories(const Policy *policy) {
        json_t *a = json_array();

        for (size_t i = 0; i < policy->n_domains; i++)
                for (char **f = policy->domains[i].left_out ? NULL : policy->domains[i].files; f && *f; f++) {
                        const char *slash = strrchr(*f, '/');
                        _cleanup_free_ char *dir = slash ? strndup(*f, (size_t) (slash - *f)) : NULL;
                        size_t k;

                        /* A drop-in's own directory would say nothing that its parent does not. */
                        if (dir && (slash = strrchr(dir, '/')) && endswith(dir, ".policy.d"))
                                dir[slash - dir] = '\0';
                        if (!dir) {
                                if (slash)
                                        json_out_of_memory();
                                continue;
                        }
                        for (k = 0; k < json_array_size(a); k++)
                                if (streq(json_string_value(json_array_get(a, k)), dir))
                                        break;
                        if (k == json_array_size(a))
                                (void) json_array_append_new(a, json_text(dir));
                }
        return a;
}

static json_t *json_lease(const Lease *l, const ServerInfo *info, const Policy *policy) {
        const Domain *d = policy_domain_of(policy, l->path);
        json_t *io = json_array(), *j;

        for (size_t i = 0; i < l->n_io; i++) {
                const IoLine *cap = &l->io[i].value;
                char device[24];

                (void) snprintf(device, sizeof(device), "%u:%u", cap->major, cap->minor);
                (void) json_array_append_new(io, json_pack("{s:s, s:o, s:o, s:o, s:o}", "device", device,
                                                           "read_bytes", json_limit(cap->v[IO_READ_BYTES]),
                                                           "write_bytes", json_limit(cap->v[IO_WRITE_BYTES]),
                                                           "reads", json_limit(cap->v[IO_READS]),
                                                           "writes", json_limit(cap->v[IO_WRITES])));
        }
        j = json_pack("{s:o, s:o, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:b}",
                         "cgroup", json_text(l->path),
                         "domain", json_text(d ? d->name : NULL),
                         "cgroup_id", (json_int_t) l->cgroup_id,
                         "incident", (json_int_t) l->incident_id,
                         "step", step_to_string(l->step),
                         "memory_high_before", json_limit(l->original),
                         "memory_high", json_limit(l->value),
                         "since", json_time(info, l->taken_usec),
                         "expires", json_time(info, l->expires_usec),
                         "handed_over", (int) l->handed_over);
        if (l->io_only) {
                (void) json_object_del(j, "memory_high");
                (void) json_object_del(j, "memory_high_before");
        }
        (void) json_object_set_new(j, "io_max", io);
        return j;
}

json_t *json_status(const ServerOps *ops, void *userdata) {
        const Policy *policy = ops->policy(userdata);
        const Engine *engine = ops->engine(userdata);
        json_t *open = json_array(), *contained = json_array(), *latencies = json_array(), *last = NULL, *j;
        ServerLatency latency;
        const Incident *incident;
        const Lease *lease;
        EngineStatus es = {};
        ServerInfo info = {};

        ops->info(userdata, &info);
        engine_status(engine, &es);
        for (size_t i = 0; (incident = engine_incident(engine, i)); i++)
                if (incident->state != INCIDENT_OVER)
                        (void) json_array_append_new(open, json_incident(incident, &info, policy, true));
                else if (!last)
                        last = json_incident(incident, &info, policy, true);
        for (size_t i = 0; (lease = ops->lease(userdata, i)); i++)
                (void) json_array_append_new(contained, json_lease(lease, &info, policy));

        for (size_t i = 0; ops->latency(userdata, i, &latency); i++)
                if (latency.cgroup)
                        (void) json_array_append_new(latencies, json_pack("{s:o, s:I, s:I, s:I}",
                                "cgroup", json_text(latency.cgroup),
                                "requests", (json_int_t) latency.requests,
                                "p50_usec", (json_int_t) latency.p50_usec,
                                "p99_usec", (json_int_t) latency.p99_usec));

        j = json_pack("{s:s, s:i, s:o, s:o, s:{s:s, s:o, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:{s:b, s:o}, s:{s:b, s:o, s:I, s:I}, s:{s:b, s:o, s:I, s:I}}, s:b, s:{s:o, s:i, s:o, s:o, s:o},"
                      " s:o, s:o, s:o, s:o, s:o}",
                      "version", CGD_VERSION,
                      "pid", (int) getpid(),
                      "now", json_time(&info, info.now_usec),
                      "started", json_time(&info, info.started_usec),
                      "sensing",
                              "level", info.level >= 2 ? "walk" : "files",
                              "reason", json_text(info.level_reason),
                              "walk_usec", (json_int_t) info.walk_usec,
                              "walk_longest_usec", (json_int_t) info.walk_longest_usec,
                              "walk_cgroups", (json_int_t) info.walk_cgroups,
                              "walk_bytes", (json_int_t) info.walk_bytes,
                              "pressure", info.psi ? info.psi : "unknown",
                              "heartbeat_usec", (json_int_t) info.heartbeat_usec,
                              "samples", (json_int_t) es.samples,
                              "rows_dropped", (json_int_t) es.rows_dropped,
                              "events_dropped", (json_int_t) info.events_dropped,
                              "exec",
                                      "seen", (int) info.exec,
                                      "reason", json_text(info.exec_reason),
                              "memory_watch",
                                      "watched", (int) info.watch,
                                      "reason", json_text(info.watch_reason),
                                      "woken", (json_int_t) info.watch_woken,
                                      "oom_kills", (json_int_t) info.oom_kills,
                              "io_credit",
                                      "measured", (int) info.credit,
                                      "reason", json_text(info.credit_reason),
                                      "lost", (json_int_t) info.credit_lost,
                                      "bytes", (json_int_t) info.credit_bytes,
                      "bus", (int) info.bus,
                      "policy",
                              "loaded", json_time(&info, info.loaded_usec),
                              "domains", (int) policy_n_in_force(policy),
                              "directories", json_directories(policy),
                              "refused", json_lines(info.refused),
                              "left_out", json_strv(info.left_out),
                      "exhaustion_usec", json_limit(es.exhaustion_usec),
                      "incidents", open,
                      "last_incident", last ? last : json_null(),
                      "contained", contained,
                      "io_latency", latencies);
        return j;
}
