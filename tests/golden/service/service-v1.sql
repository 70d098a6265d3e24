BEGIN TRANSACTION;
CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        state TEXT NOT NULL,
        kind TEXT NOT NULL,
        priority INTEGER NOT NULL,
        queued_s REAL NOT NULL,
        submitted_s REAL NOT NULL,
        worker TEXT,
        record TEXT NOT NULL
    ) STRICT;
INSERT INTO "jobs" VALUES('0123456789ab',3,'finished','train',0,1800000000.0,1800000000.0,'host-1','{"id":"0123456789ab","kind":"train","name":"first","tags":["a","b"],"notes":"","parent":null,"actor":"ann","state":"finished","reason":"","priority":0,"attempt":1,"losses":0,"max_attempts":3,"submitted_s":1800000000.0,"changed_s":1800000050.0,"queued_s":1800000000.0,"started_s":1800000002.0,"ended_s":1800000050.0,"deadline_s":null,"wish":null,"wished_s":null,"worker":"host-1","slot":0,"process":{"pid":5,"start":7,"machine":"host boot pid:[1]"},"summary":{"step":8,"total_steps":8},"seq":3,"about":"/data/store classification digit video audio scfae","key":null}');
INSERT INTO "jobs" VALUES('ba9876543210',0,'queued','train',0,1800000000.0,1800000000.0,NULL,'{"id":"ba9876543210","kind":"train","name":"first","tags":["a","b"],"notes":"","parent":null,"actor":"ann","state":"queued","reason":"","priority":0,"attempt":0,"losses":0,"max_attempts":3,"submitted_s":1800000000.0,"changed_s":1800000050.0,"queued_s":1800000000.0,"started_s":null,"ended_s":null,"deadline_s":null,"wish":null,"wished_s":null,"worker":null,"slot":null,"process":null,"summary":{},"seq":0,"about":"/data/store classification digit video audio scfae","key":null}');
CREATE TABLE workers (
        id TEXT PRIMARY KEY,
        seen_s REAL NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
CREATE INDEX jobs_queue ON jobs (state, priority DESC, queued_s, id);
CREATE INDEX jobs_recent ON jobs (submitted_s DESC, id DESC);
COMMIT;
PRAGMA user_version=1;
