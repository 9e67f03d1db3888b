/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The journal's MESSAGE_IDs: one row a kind. data/cgd.catalog explains each; a test compares them. */

#include <stddef.h>

/* kind, id, what it says */
#define MESSAGE_TABLE(X) \
        X(STARTED,       "835a19c940b74bf09becb9e50f47402d", "cgd has started") \
        X(STOPPED,       "97f310010fb84ab09ffa8bd402926607", "cgd has stopped and given everything back") \
        X(LOADED,        "2a3ab57ce8754856a8655b720e60a7bc", "A policy set was loaded") \
        X(REFUSED,       "4fa2149765564d58af02c5aee44dbe95", "A policy set was refused") \
        X(MODE_SET,      "0e6b0a1c5d8f4b7f9c3d27a1e84f6b52", "A domain's mode was set by an operator") \
        X(ALARM,         "6c5cdc7e90a542829490babab2928af9", "A domain asks for help") \
        X(CONTAINED,     "54e9aa4b2d944be3a9bc540cd7e33b4b", "A cgroup is contained") \
        X(NOT_CONTAINED, "433d0a0ecd9c4d959ce42c204ac7a6a1", "Nothing was done about an alarm") \
        X(LIFTED,        "3950bd3f35e34b10ae5b97527ec6d4cf", "A cgroup's limits were given back") \
        X(HOOK,          "d93304335a974de3807e0b35ca6d4543", "A command is run before a kill") \
        X(HOOK_FAILED,   "4f1501f19f6045a7ae43f32deaaf62a6", "A command before a kill failed") \
        X(KILLING,       "168b07abd366418a8a5c66582755f71a", "A cgroup is about to be killed") \
        X(KILLED,        "64d39d254fb6483797c8a7697dcf5fac", "A cgroup was killed") \
        X(KILL_FAILED,   "bb1d843eca7441029251c782e3459dd7", "A cgroup could not be killed") \
        X(BUDGET_SPENT,  "cf0919fff9884151bcc1f0d6a8706b7c", "The budget of kills is spent") \
        X(SPARED,        "dcd25ae434fd4a279221126d492daf97", "A cgroup is held where others are killed") \
        X(DRIFTED,       "a38f4253485a4a33a044bdf21bf535d7", "Someone else changed a limit that cgd set") \
        X(ADOPTED,       "2a28ee0f82334acdb31d7343d8b3f3a2", "Changes from before a restart were adopted") \
        X(OOM,           "40e42727efec49f5bcb7a104d82301d4", "The kernel killed a process for want of memory") \
        X(OVER,          "1b63345c437246d9b6b24214e16f9cab", "An incident is over") \
        X(ACTION_FAILED, "78e35d90e5024bea97e71ce3cca37f97", "A change could not be made") \
        X(PSI_MISSING,   "9d42eb5debe64c2ab10d5a8794245b84", "Pressure triggers are missing or coarse") \
        X(SENSING,       "b4e1c7a05d3f4f0d9a6627c81e35fa90", "What the cgroups are seen with")

typedef enum MessageKind {
#define X(kind, id, subject) MESSAGE_##kind,
        MESSAGE_TABLE(X)
#undef X
        _MESSAGE_KIND_MAX,
} MessageKind;

/* 32 hex digits for MESSAGE_ID=. */
static inline const char *message_id(MessageKind kind) {
        static const char *const ids[_MESSAGE_KIND_MAX] = {
#define X(kind, id, subject) [MESSAGE_##kind] = id,
                MESSAGE_TABLE(X)
#undef X
        };
        return (size_t) kind < _MESSAGE_KIND_MAX ? ids[kind] : NULL;
}
