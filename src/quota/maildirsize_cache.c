/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/maildirsize_cache.h"

#include <stdlib.h>

#define SEC_PER_DAY (24 * 3600)

struct maildirsize_cached {
    struct stamp stamp;
    uint64_t size;
    int64_t day;
    struct maildirsize says;
};

const struct maildirsize_cached *maildirsize_cache_find(const struct cache *cache, const char *path)
{
    return cache_find(cache, CACHE_MAILDIRSIZE, path);
}

bool maildirsize_cached_get(const struct maildirsize_cached *cached, const struct statx *st,
                            int64_t now_sec, struct maildirsize *ret)
{
    const struct stamp stamp = stamp_from_statx(st);

    if (!stamp_equal(&cached->stamp, &stamp) || cached->size != st->stx_size ||
        cached->day != now_sec / SEC_PER_DAY)
        return false;
    *ret = cached->says;
    return true;
}

void maildirsize_cache_put(struct cache *cache, const char *path, const struct statx *st,
                           int64_t read_sec, const struct maildirsize *says)
{
    const struct stamp stamp = stamp_from_statx(st);
    struct maildirsize_cached *cached =
        stamp_is_settled(&stamp, read_sec) ? malloc(sizeof(*cached)) : NULL;

    if (!cached)
        return;
    *cached = (struct maildirsize_cached){
        .stamp = stamp,
        .size = st->stx_size,
        .day = read_sec / SEC_PER_DAY,
        .says = *says,
    };
    cache_put(cache, CACHE_MAILDIRSIZE, path, cached, sizeof(*cached));
}
