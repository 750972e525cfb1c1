/* The options of `run` and `create` that end up in config.json. */
#pragma once

#include "bundle/options.h"
#include "cli/opt.h"

/* Fills a struct bundle_options; taken in with OPT_GROUP. */
extern const struct opt run_bundle_opts[];
