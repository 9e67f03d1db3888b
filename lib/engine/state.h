/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The engine's state, shared by its parts: alarm.c raises, incident.c has its incidents looked into (suspect.c),
 * contain.c takes and undoes the steps. All of fixed size. */

#include "base/units.h"
#include "engine/alarm.h"
#include "engine/blame.h"
#include "engine/chronicle.h"
#include "engine/engine.h"
#include "engine/forecast.h"
#include "engine/latency.h"
#include "engine/pace.h"
#include "engine/track.h"

#define CONTAINMENTS_MAX 64
#define DOMAIN_NAME_MAX 256
#define KILL_TIMES_MAX 16

/* In an incident: one sample this often (design.md, "Cost follows trouble"). */
#define HOT_USEC (100 * USEC_PER_MSEC)
/* Calm for this long counts as recovered, and is how often a limit rises. */
#define CALM_USEC USEC_PER_SEC
/* Nothing can be done: look again after this, and then after twice as long each time. */
#define RECHECK_MIN_USEC USEC_PER_SEC
/* Beside an alarm that is up and about which nothing is done, this often is looked whether it got worse. */
#define LISTEN_USEC USEC_PER_SEC
/* Less io than this in the window is no reason for anybody's trouble. */
#define IO_NOISE (UINT64_C(1) << 20)
/* Some tasks of a cgroup wait this much of the time: it wants more than its limit gives. */
#define PUSHING_PERMYRIAD 2000

typedef enum ContainmentPhase {
        PHASE_HELD,             /* memory.high is ours and does not move */
        PHASE_RISING,           /* going back up, a quarter at a time */
        PHASE_KILLING,          /* a kill is under way */
        PHASE_RESTORING,        /* the last action: waiting for its outcome */
} ContainmentPhase;

/* One device on which the cgroup's io is capped. */
typedef struct DeviceCap {
        IoLine original, level;         /* io.max before, and as we want it */
        IoLine written;                 /* … and as the last outcome left it */
        IoLine measured;                /* what it did a second when it was capped first */
        uint64_t full[2];               /* … and all did, in bytes and in operations */
        unsigned share_permyriad;       /* … and its part of that; 0 = not known */
        unsigned trust_permyriad;       /* what is left of these after what was seen since */
        IoLine lower;                   /* before the last rise */
        uint64_t learn_usec;            /* when it was last looked whether the device does more … */
        IoLine learn;                   /* … and what all had done there ever */
} DeviceCap;

/* One cgroup on which we hold a lease. Memory and io are held apart: each has its steps and its way up. */
typedef struct Containment {
        uint64_t cgroup_id;             /* 0 = free place */
        uint64_t incident_id;           /* the incident that began it */
        char path[4096];
        ContainmentPhase phase;
        Step step;                      /* highest rung taken */
        bool memory;                    /* memory.high is ours … */
        bool memory_written;            /* … and was written at least once, or memory.swap.high */
        uint64_t original, level;       /* memory.high before, and as we want it */
        uint64_t written;               /* … and as the last outcome left it: what the file holds */
        uint64_t swap_original, swap_level;     /* memory.swap.high likewise; equal = not ours */
        uint64_t lower_level;           /* before the last rise: where an alarm puts it back to */
        uint64_t pending_action;        /* id of the action whose outcome is awaited; 0 = none */
        ActionType pending_type;
        uint64_t step_usec;             /* when the last step was taken */
        uint64_t evidence_usec;         /* last time that it was seen to hurt or to push */
        uint64_t rise_usec;             /* last rise, while it rises */
        uint64_t rise_wait_usec;        /* between calm and the first rise; doubles at each relapse */
        uint64_t floor_usec;            /* at the floor and still hurting since; 0 = not */
        uint64_t stuck_usec;            /* making no progress since; 0 = it does */
        uint64_t stuck_full;            /* … and for how long all of it had stalled on memory by then */
        uint64_t kill_target;           /* cgroup that was killed */
        DeviceCap caps[IO_DEVICES_MAX];
        size_t n_caps;                  /* 0 = its io is not ours */
        uint64_t cap_begun_usec;        /* when it was first capped … */
        uint64_t cap_usec;              /* … and when the caps were last changed */
        uint64_t cap_rise_usec;         /* last rise; 0 = they do not rise */
        uint64_t cap_wait_usec;         /* between calm and the next rise; doubles at each relapse */
        uint64_t cap_hurt_usec;         /* last time that a cap was lowered because it hurt, or begun */
        uint64_t cap_binds_usec;        /* last time that it used half of a cap */
        uint64_t cap_evidence_usec;     /* last time that its io was seen to hurt or to push */
        PaceWatch pace;
        bool memory_ends, caps_end;     /* the action under way gives them back: the other stays */
        bool for_writes;                /* memory.high is only there to keep little dirty, and goes with the caps */
        unsigned failures;
        bool budget_told, spared_told, killed;
        bool forbidden;                 /* is given back because a policy, mode or mark came to forbid it */
} Containment;

/* Whose containment could not be done, or was forbidden. */
typedef struct Refused {
        uint64_t id;                    /* 0 = free place */
        uint64_t usec;                  /* not contained anew before then … */
        uint64_t wait_usec;             /* … and so much longer after that, if it still cannot be done */
} Refused;

/* What the engine knows of an open incident beyond its public record. */
typedef struct OpenIncident {
        uint64_t id;                    /* 0 = free place */
        int alarm;                      /* index of its AlarmState; -1 = the policy that raised it is gone */
        uint64_t look_until_usec;       /* LOOKING: give up then */
        uint64_t recheck_usec;          /* QUIET: look again then */
        uint64_t recheck_wait_usec;
        uint64_t listened_usec;         /* QUIET: when it was last looked whether it got worse */
        uint64_t quiet_stall, quiet_others;     /* QUIET: the least lately, in 1/100 %: of stall; of its time that it waited for others */
        uint64_t worse_usec;            /* when it last got much worse than that … */
        uint64_t worse_wait_usec;       /* … and how long after that nobody is looked for because it does so again */
        uint64_t pace_usec;             /* io: since then the victim's requests did what they did beyond … */
        Pace pace;                      /* … this */
        Refused refused[4];             /* the last ones: they may take turns */
        uint64_t acts_on;               /* its culprit, where he is contained for its victim too; 0 = nobody, or rank or contract forbid it */
        uint64_t second_usec;           /* CONTAINING: not before then is somebody else looked for */
        uint64_t calm_usec;             /* alarm down since; 0 = it is up */
        uint64_t mark_usec;             /* since the last step on its culprit, or since the alarm: */
        uint64_t mark_available;        /* … what relief is measured against */
} OpenIncident;

typedef struct ModeOverride {
        char domain[DOMAIN_NAME_MAX];
        Mode mode;
} ModeOverride;

typedef struct KillTimes {
        char domain[DOMAIN_NAME_MAX];
        uint64_t usec[KILL_TIMES_MAX];
        size_t n;
} KillTimes;

/* Who is behind an incident. */
typedef struct Suspect {
        BlameScope scope;
        Blame blame;
        IncidentResource lever;         /* by which the culprit is contained: swap traffic is io, and cured where the leak is */
        Verdict harmless;               /* VERDICT_CULPRIT: what the culprit took did harm */
} Suspect;

struct Engine {
        EngineConfig config;
        const Policy *policy;           /* borrowed; only compared and used within a step */
        const Sample *sample;           /* of this step; NULL = none with cgroups */
        uint64_t now;

        Tracks tracks;
        Waits waits;
        Latencies latencies;
        Forecast forecast;
        AlarmState alarms[POLICY_ALARMS_MAX];
        size_t n_alarms;
        Chronicle chronicle;
        OpenIncident open[INCIDENTS_MAX];
        Containment containments[CONTAINMENTS_MAX];
        ModeOverride modes[POLICY_DOMAINS_MAX];
        size_t n_modes;
        KillTimes kills[POLICY_DOMAINS_MAX];

        uint64_t next_action_id;
        uint64_t kill_in_flight;        /* action id, 0 = none: one at a time on the host */
        uint64_t stir_until_usec;
        uint64_t io_stir_since_usec, io_stir_usec;      /* first and last of a row of early triggers about io */
        uint64_t look_usec;             /* when the last sample of any kind was taken */
        uint64_t cgroups_usec;          /* of the last sample with cgroups */
        uint64_t hot_since_usec;        /* of the first one after rest */
        uint64_t heartbeat_usec;        /* of the last sample of every cgroup, complete or not */
        bool look_at_all;               /* somebody to be blamed lies in a slice that the last look did not open */
        uint64_t samples;
};

/* verdict.c */

/* May this cgroup be contained for this victim? VERDICT_CULPRIT: yes. *ret_domain: its domain, or NULL. */
Verdict contain_verdict(const Engine *e, const Domain *victim, IncidentResource r, const CgroupSample *c, const Domain **ret_domain);
/* What is contained may be so still, whoever it hurts: no policy, mode or mark that came since forbids it. c: its row; NULL: not seen now. */
bool contain_goes_on(const Engine *e, const char *path, const CgroupSample *c);
/* The unit that the path is of, or lies in, is in Exclude= of its domain. */
bool unit_is_excluded(const Engine *e, const char *path);

/* room.c */

/* The least that limits a slice's memory and is not of our own making; LIMIT_MAX = nothing. */
uint64_t slice_limit(const Engine *e, const CgroupSample *slice);
/* A slice on the way up from path has used four fifths of its limit: memory is short there, though the host has plenty. */
bool slice_is_full(const Engine *e, const char *path);
/* What the host can give away without coming near trouble again, in bytes: available less a tenth of all … */
uint64_t room_on_host(const Engine *e);
/* … and the slices above path. */
uint64_t room_for(const Engine *e, const char *path);

/* kill.c */

/* KillBudget= allows one more in the domain. */
bool kill_budget_left(Engine *e, const Domain *d);
void kill_budget_spend(Engine *e, const Domain *d);
/* Memory and swap of a row in bytes, and what of it is no page cache, which can be had without a kill. Of who takes in little that
 * is not read at each look: then as it was told last. False where it is not known. */
bool kill_frees(const Engine *e, const CgroupSample *row, uint64_t *ret_all, uint64_t *ret_kept);
/* Of a contained slice the unit that has most, page cache aside, among those that are no bystanders, never the slice; else row itself.
 * Nobody most of whose memory is page cache, which can be had without a kill. NULL: nobody. */
const CgroupSample *kill_victim(const Engine *e, const Containment *c, const CgroupSample *row, const Domain *d);

/* contain.c */

Containment *containment_find(Engine *e, uint64_t cgroup_id);
Containment *containment_free(Engine *e);       /* NULL: there are as many as can be */
/* Takes the first step against the culprit, for incident i. False where none can be taken now. */
bool containment_begin(Engine *e, Plan *plan, Incident *i, const Suspect *s);
/* The culprit, who is contained, does harm by this resource: he is held, or capped, as well. False where that cannot be done now. */
bool containment_join(Engine *e, Plan *plan, const Suspect *s);
void containments_step(Engine *e, Plan *plan);
void containment_outcome(Engine *e, const Outcome *o);
void containment_gone(Engine *e, uint64_t cgroup_id);
bool containments_any(const Engine *e);

/* caps.c */

/* Does the step io-cap help against what c does on these devices? Not where it is the swap traffic of its own growth. */
bool caps_help(const Engine *e, const BlameScope *scope, const CgroupSample *c);
/* Writes through the page cache: much of its data is on the way to the disk. */
bool caps_buffered(const CgroupSample *row);
/* Of what it does on these devices next to nothing is written. */
bool caps_only_reads(const Engine *e, const BlameScope *scope, const CgroupSample *c);
/* Half of the measured rate on each device of the scope. False where nothing was measured. */
bool caps_begin(Engine *e, Containment *c, const BlameScope *scope, const CgroupSample *row, const Domain *d);
/* Would a cap now limit what it does? */
bool caps_bite(Engine *e, const BlameScope *scope, const CgroupSample *row, const Domain *d);
/* Half of what they are. False at the floor. */
bool caps_lower(Engine *e, Containment *c, const Domain *d);
/* Less than half of what is thought to be left of a device. */
bool caps_are_low(const Engine *e, const Containment *c);
/* Measures a device anew where it is seen to be full. True: a cap was lowered for that. */
bool caps_correct(Engine *e, Containment *c, const CgroupSample *row, const Domain *d);
typedef enum CapsChange {
        CAPS_STAY,                      /* or not worth a write */
        CAPS_RISEN,
        CAPS_LOWERED,                   /* the last rise was too much for the victim's requests */
} CapsChange;
/* A quarter more, remembering where from, or back. */
CapsChange caps_raise(Engine *e, Containment *c, const Domain *d);
/* Back to before the last rise and a little below. */
void caps_back(Engine *e, Containment *c, const Domain *d);
void caps_lift(Containment *c);
/* There is something to write. */
bool caps_differ(const Containment *c);
/* Uses nearly all of a cap; *ret_binds: would use half of one. False: not known now. */
bool caps_pushing(const Engine *e, const Containment *c, bool *ret_pushing, bool *ret_binds);

/* suspect.c */

/* What an alarm is about: its first condition tells. */
IncidentResource alarm_resource(const Alarm *a);
/* What the incident is about; needs a sample. */
void suspect_scope(const Engine *e, const OpenIncident *o, BlameScope *ret);
/* Whom the sample shows to be behind it. False: not known yet. */
bool suspect_find(Engine *e, const OpenIncident *o, const Incident *i, Suspect *ret);

/* relief.c */

/* True while the incident's trouble, measured since the last step, goes on and is to be laid on cgroup_id. */
bool incident_hurts(const Engine *e, const OpenIncident *o, uint64_t cgroup_id);

/* account.c */

/* Whom an entry is about stands among those considered, which has his name. */
void account_list(Incident *i, uint64_t id, const char *path, Verdict verdict);
/* What is thought of one of those considered by now. */
Verdict account_verdict(const Incident *i, uint64_t id);
/* The blame's culprit is the incident's now; d: his domain, NULL = none. */
void account_culprit(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict verdict, const Domain *d);
/* Nobody is to blame, or what was taken did no harm. Those whom entries are about keep their names. */
void account_nobody(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict harmless);

/* incident.c */

OpenIncident *incident_state(Engine *e, uint64_t id);
/* NULL where the policy set no longer has it. */
AlarmState *incident_alarm(const Engine *e, const OpenIncident *o);
/* The domain that asked for help; NULL where the policy set no longer has it. */
const Domain *incident_victim(const Engine *e, const OpenIncident *o);
/* It is contained for this incident's victim too. */
bool incident_acts_on(const OpenIncident *o, uint64_t cgroup_id);
/* Its containment ended: because it could not be done, or was forbidden, or not. */
void incident_refused(OpenIncident *o, uint64_t cgroup_id, bool refused);
/* What comes from now on counts, for whether it hurts still. */
void incident_mark(Engine *e, OpenIncident *o);
/* While it is quiet, it is looked at each second whether what its alarm is about got worse. */
bool incident_listens(const Engine *e, const OpenIncident *o);
/* An alarm was raised. Nothing happens where as many are open as there are places. */
void incident_open(Engine *e, size_t alarm_index);
/* Looks, contains, waits or ends, as it is due. */
void incident_step(Engine *e, Plan *plan, OpenIncident *o);
void incident_end(Engine *e, OpenIncident *o, Incident *i, IncidentResult result);

/* engine.c */

/* Bytes a second below which intake is ordinary business. */
uint64_t intake_noise(const Engine *e);
