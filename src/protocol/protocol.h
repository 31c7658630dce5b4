/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is spoken on a socket. */
#pragma once

enum protocol {
    PROTOCOL_LINE,   /* one request, one reply (exim-quotad-protocol(7)) */
    PROTOCOL_POLICY, /* Postfix's policy delegation, as long as the client likes (policy.h) */
    PROTOCOL_COUNT_,
};
