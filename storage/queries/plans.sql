-- name: by_filters
-- Plans of the rest of the transaction are made for the filters that are given, and never for what all of them may be.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true)
