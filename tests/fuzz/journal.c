/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries for journald: what it reads is what was meant, whatever a mailbox is called. The input
 * has a message and fields, each ended by a NUL; its first bytes choose which there are.
 *
 * Linked with --wrap=sendto, so that the entries end here. They are read as the journal's native
 * protocol is documented.
 */
#include "fuzz.h"

#include <endian.h>
#include <errno.h>
#include <sys/socket.h>

#include "system/journal.h"
#include "system/utf8.h"

#define FIELDS_MAX 24

static struct journal *journal;
static char sent[65536];
static size_t sent_length;
static bool is_refused; /* the next entry, as by a journald that is not there */

ssize_t __wrap_sendto(int fd, const void *bytes, size_t length, int flags,
                      const struct sockaddr *address, socklen_t address_length);

ssize_t __wrap_sendto(int fd, const void *bytes, size_t length, int flags,
                      const struct sockaddr *address, socklen_t address_length)
{
    (void)fd;
    (void)address;
    (void)address_length;
    require(flags & MSG_NOSIGNAL);
    if (is_refused) {
        errno = ECONNREFUSED;
        return -1;
    }
    require(length <= sizeof(sent));
    memcpy(sent, bytes, length);
    sent_length = length;
    return (ssize_t)length;
}

/* A field as it was sent. */
struct field {
    const char *name, *value;
    size_t name_length, value_length;
};

/* Takes the next field off sent[*at..). */
static struct field take_field(size_t *at)
{
    struct field field = {.name = sent + *at};
    const char *end = sent + sent_length;
    const char *lf = memchr(field.name, '\n', (size_t)(end - field.name)), *equals;

    require(lf);
    equals = memchr(field.name, '=', (size_t)(lf - field.name));
    if (equals) {
        field.name_length = (size_t)(equals - field.name);
        field.value = equals + 1;
        field.value_length = (size_t)(lf - field.value);
    } else {
        uint64_t length;

        field.name_length = (size_t)(lf - field.name);
        require((size_t)(end - lf - 1) > sizeof(length));
        memcpy(&length, lf + 1, sizeof(length));
        field.value = lf + 1 + sizeof(length);
        field.value_length = le64toh(length);
        require(field.value_length < (size_t)(end - field.value));
        require(field.value[field.value_length] == '\n');
    }
    *at = (size_t)(field.value + field.value_length + 1 - sent);
    return field;
}

static void check_name(const struct field *field)
{
    require(field->name_length > 0 && field->name_length <= 64);
    for (size_t i = 0; i < field->name_length; i++)
        require((field->name[i] >= 'A' && field->name[i] <= 'Z') || field->name[i] == '_');
    require(field->name[0] != '_');
}

static size_t take_entry(struct field *fields)
{
    size_t count = 0;

    for (size_t at = 0; at < sent_length; count++) {
        require(count < FIELDS_MAX);
        fields[count] = take_field(&at);
        check_name(&fields[count]);
        for (size_t i = 0; i < count; i++)
            require(fields[i].name_length != fields[count].name_length ||
                    memcmp(fields[i].name, fields[count].name, fields[i].name_length) != 0);
    }
    return count;
}

static const struct field *find(const struct field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].name_length == strlen(name) &&
            memcmp(fields[i].name, name, fields[i].name_length) == 0)
            return &fields[i];
    return NULL;
}

/* The field has that value, or is not there where the value is NULL. */
static void check_text(const struct field *fields, size_t count, const char *name,
                       const char *value)
{
    const struct field *field = find(fields, count, name);

    require(!field == !value);
    require(!field || (field->value_length == strlen(value) &&
                       memcmp(field->value, value, field->value_length) == 0));
}

static void check_number(const struct field *fields, size_t count, const char *name, bool applies,
                         uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%ju", (uintmax_t)number);
    check_text(fields, count, name, applies ? text : NULL);
}

/* Whether a terminal may obey the character, or it may change what others look like. */
static bool is_dangerous(uint32_t character)
{
    return character < ' ' || (character >= 0x7f && character < 0xa0) || character == 0xad ||
           (character >= 0x200b && character < 0x2010) ||
           (character >= 0x2028 && character < 0x202f) ||
           (character >= 0x2060 && character < 0x2070) || character == 0xfeff ||
           (character >= 0xe0000 && character < 0xe1000);
}

/* Takes an escape that must stand for what the message goes on with. Returns its length. */
static size_t take_escape(const char *shown, const char **message)
{
    size_t digits = shown[1] == 'x' ? 2 : shown[1] == 'u' ? 4 : 8;
    char number[9] = "";
    uint32_t character;
    size_t bytes;

    if (shown[1] == '\\') {
        require(*(*message)++ == '\\');
        return 2;
    }
    require(strchr("xuU", shown[1]));
    memcpy(number, shown + 2, digits);
    require(strspn(number, "0123456789abcdef") == digits);
    bytes = utf8_decode(*message, strlen(*message), &character);
    require(bytes > 1 ? digits != 2 : digits == 2);
    require(strtoul(number, NULL, 16) == (bytes > 1 ? character : (unsigned char)**message));
    *message += bytes > 1 ? bytes : 1;
    return digits + 2;
}

/* The message is shown by journalctl, whose users have terminals; and it can be read back. */
static void check_message(const struct field *fields, size_t count, const char *message)
{
    const struct field *field = find(fields, count, "MESSAGE");
    uint32_t character;
    size_t step;

    require(field);
    for (size_t i = 0; i < field->value_length; i += step) {
        if (field->value[i] == '\\') {
            step = take_escape(field->value + i, &message);
            continue;
        }
        step = utf8_decode(field->value + i, field->value_length - i, &character);
        require(step > 0 && !is_dangerous(character));
        require(memcmp(field->value + i, message, step) == 0);
        message += step;
    }
    require(*message == '\0');
}

static void check_entry(const struct journal_fields *wanted, const char *message)
{
    struct field fields[FIELDS_MAX];
    size_t count = take_entry(fields);

    check_message(fields, count, message);
    check_text(fields, count, "SYSLOG_IDENTIFIER", "exim-quotad");
    check_text(fields, count, "QUOTA_MAILBOX", wanted->mailbox);
    check_text(fields, count, "QUOTA_STATUS", wanted->status);
    check_text(fields, count, "QUOTA_SOURCE", wanted->source);
    check_text(fields, count, "QUOTA_REASON", wanted->reason);
    check_number(fields, count, "QUOTA_BYTES", wanted->have_usage, wanted->bytes);
    check_number(fields, count, "QUOTA_MESSAGES", wanted->have_usage, wanted->messages);
    check_number(fields, count, "QUOTA_LIMIT", wanted->have_usage, wanted->limit);
    check_number(fields, count, "QUOTA_MESSAGE_LIMIT", wanted->have_usage, wanted->message_limit);
    check_number(fields, count, "QUOTA_PERCENT", wanted->have_usage, wanted->percent);
    check_number(fields, count, "QUOTA_SIZE", wanted->size_bytes > 0, wanted->size_bytes);
    check_number(fields, count, "QUOTA_USEC", wanted->have_usec, wanted->usec);
    check_number(fields, count, "QUOTA_PEER_UID", wanted->have_peer, wanted->peer_uid);
    check_number(fields, count, "QUOTA_PEER_PID", wanted->have_peer, (uint64_t)wanted->peer_pid);
}

/* After entries that journald did not take, the next is taken, and then it is told how many. */
static void check_lost(const char *message)
{
    struct field fields[FIELDS_MAX];
    const struct field *text;

    is_refused = true;
    journal_log(journal, LOG_INFO, "%s", message);
    journal_log(journal, LOG_INFO, "%s", message);
    is_refused = false;
    journal_log(journal, LOG_INFO, "%s", message);
    text = find(fields, take_entry(fields), "MESSAGE");
    require(text && text->value_length > 7 && memcmp(text->value, "2 entri", 7) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(journal_open(JOURNAL_NATIVE, NULL, true, &journal) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {(const char *)data + 2, size - 2};
    char *message, *words[4];
    struct journal_fields fields = {};

    /* A path has a bound, and so have the messages about one. */
    if (size < 2 || size > 4096)
        return 0;
    message = fuzz_take(&input, '\0');
    for (size_t i = 0; i < 4; i++)
        words[i] = fuzz_take(&input, '\0');
    fields.mailbox = data[0] & 1 ? words[0] : NULL;
    fields.status = data[0] & 2 ? words[1] : NULL;
    fields.source = data[0] & 4 ? words[2] : NULL;
    fields.reason = data[0] & 8 ? words[3] : NULL;
    fields.have_usage = data[0] & 16;
    fields.have_usec = data[0] & 32;
    fields.have_peer = data[0] & 64;
    fields.bytes = UINT64_MAX;
    fields.messages = strlen(message);
    fields.limit = UINT64_MAX / 3;
    fields.size_bytes = data[1] & 1 ? UINT64_MAX : 0;
    fields.usec = data[1];
    fields.peer_uid = (uid_t)-1;
    fields.peer_pid = INT32_MAX;
    journal_event(journal, (enum journal_message)(data[1] % JOURNAL_MESSAGE_COUNT_), &fields, "%s",
                  message);
    check_entry(&fields, message);
    if (data[1] & 2)
        check_lost(message);
    free(message);
    for (size_t i = 0; i < 4; i++)
        free(words[i]);
    return 0;
}
