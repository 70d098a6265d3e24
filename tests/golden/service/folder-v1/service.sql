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
INSERT INTO "jobs" VALUES('2832d44a37ea',3,'finished','train',0,1.79594390634112954134e+09,1.79594390634112954134e+09,'host-3f2cba','{"id":"2832d44a37ea","kind":"train","name":"first","tags":["a"],"notes":"","parent":null,"actor":"ann","state":"finished","reason":"","priority":0,"attempt":1,"losses":0,"max_attempts":3,"submitted_s":1795943906.3411295,"changed_s":1795943968.0370371,"queued_s":1795943906.3411295,"started_s":1795943930.0248632,"ended_s":1795943968.0370371,"deadline_s":null,"wish":null,"wished_s":null,"worker":"host-3f2cba","slot":0,"process":{"pid":2337,"start":290468,"machine":"host boot pid:[4026531836]"},"summary":{"step":8,"total_steps":8,"epoch":2,"epochs":2,"best":{"metric":"balanced_accuracy","value":0.3666666666666667,"loss":2.6081024408340454,"step":8,"epoch":2}},"seq":3,"about":"/data/store classification digit video audio scfae","key":"one"}');
INSERT INTO "jobs" VALUES('dd63df555a37',1,'cancelled','train',0,1.7959439691062150002e+09,1.7959439691062150002e+09,NULL,'{"id":"dd63df555a37","kind":"train","name":"second","tags":[],"notes":"","parent":null,"actor":"ann","state":"cancelled","reason":"wrong rate","priority":0,"attempt":0,"losses":0,"max_attempts":3,"submitted_s":1795943969.106215,"changed_s":1795943969.2758577,"queued_s":1795943969.106215,"started_s":null,"ended_s":1795943969.2758577,"deadline_s":null,"wish":null,"wished_s":null,"worker":null,"slot":null,"process":null,"summary":{},"seq":1,"about":"/data/store classification digit video audio scfae","key":null}');
INSERT INTO "jobs" VALUES('873cddf88023',1,'queued','train',2,1.79594396930828261371e+09,1.79594396930828261371e+09,NULL,'{"id":"873cddf88023","kind":"train","name":"third","tags":[],"notes":"later","parent":null,"actor":"bob","state":"queued","reason":"","priority":2,"attempt":0,"losses":0,"max_attempts":3,"submitted_s":1795943969.3082826,"changed_s":1795943969.3082826,"queued_s":1795943969.3082826,"started_s":null,"ended_s":null,"deadline_s":null,"wish":null,"wished_s":null,"worker":null,"slot":null,"process":null,"summary":{},"seq":1,"about":"/data/store classification digit video audio scfae","key":null}');
CREATE TABLE workers (
        id TEXT PRIMARY KEY,
        seen_s REAL NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
CREATE INDEX jobs_queue ON jobs (state, priority DESC, queued_s, id);
CREATE INDEX jobs_recent ON jobs (submitted_s DESC, id DESC);
COMMIT;
PRAGMA user_version=1;
