/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where cgd is found on D-Bus: shared by who serves it and who asks. */

#define CGD_BUS_NAME "org.cgd1"
#define CGD_BUS_OBJECT "/org/cgd1"
#define CGD_BUS_INTERFACE "org.cgd1.Manager"
/* The same object without a broker; for root and group cgd. */
#define CGD_SOCKET "/run/cgd/private"

#define CGD_ERROR_NOT_FOUND "org.cgd1.Error.NotFound"
#define CGD_ERROR_REFUSED "org.cgd1.Error.Refused"
#define CGD_ERROR_FAILED "org.cgd1.Error.Failed"
