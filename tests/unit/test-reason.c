/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "protocol/words.h"

static void words_differ(void **state)
{
    (void)state;
    assert_string_equal(reason_to_string(REASON_NONE), "none");
    for (int i = 0; i < REASON_COUNT_; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(reason_to_string((enum reason)i),
                                    reason_to_string((enum reason)j));
}

static void errors_have_a_reason_and_a_text(void **state)
{
    static const struct {
        int error;
        const char *reason;
        const char *text;
    } rows[] = {
        {-EXDEV, "outside-root", "leads outside the roots"},
        {-ELOOP, "outside-root", "leads through too many symbolic links, or through one of /proc"},
        {-ENOLINK, "not-a-mailbox", "leads through a symbolic link to nothing"},
        {-ENODEV, "io-error", "lies in a root that no longer exists"},
        {-ECANCELED, "io-error", "cannot be opened while directories keep being renamed"},
        {-EACCES, "permission-denied", "Permission denied"},
        {-EPERM, "permission-denied", "Operation not permitted"},
        {-EMEDIUMTYPE, "not-a-mailbox", "is neither a directory nor a regular file"},
        {-E2BIG, "io-error", "has too many folders"},
        {-ENOTDIR, "not-a-mailbox", "Not a directory"},
        {-ENAMETOOLONG, "too-long", "File name too long"},
        {-EBUSY, "overloaded", "too many mailboxes are waiting to be read"},
        {-ETIMEDOUT, "timeout", "could not be read in time"},
        {-EMFILE, "overloaded", "Too many open files"},
        {-ENFILE, "overloaded", "Too many open files in system"},
        {-EAGAIN, "io-error", "Resource temporarily unavailable"},
        {-ENOMEM, "overloaded", "Cannot allocate memory"},
        {-EIO, "io-error", "Input/output error"},
        {-ESTALE, "io-error", "Stale file handle"},
        {-99999, "io-error", "unknown error"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_string_equal(reason_to_string(reason_from_errno(rows[i].error)), rows[i].reason);
        assert_string_equal(reason_text_from_errno(rows[i].error), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_differ),
        cmocka_unit_test(errors_have_a_reason_and_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
