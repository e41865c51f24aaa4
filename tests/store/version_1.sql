-- A database of schema version 1 with a row in each table, dumped (sqlite3 .dump) from the version that wrote it.
BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	time_s DOUBLE NOT NULL, 
	actor VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1.0,'ada','sign in','ada','by one-time link');
CREATE TABLE claims (
	ghost VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	generation BIGINT NOT NULL, 
	state VARCHAR NOT NULL, 
	since_s DOUBLE NOT NULL, 
	destroyed BOOLEAN NOT NULL, 
	PRIMARY KEY (ghost)
);
INSERT INTO "claims" VALUES('g1','ada',1,'active',1.5,0);
CREATE TABLE events (
	id INTEGER NOT NULL, 
	"key" BLOB NOT NULL, 
	time_s DOUBLE NOT NULL, 
	kind VARCHAR NOT NULL, 
	user VARCHAR, 
	app VARCHAR, 
	desktop VARCHAR, 
	value DOUBLE, 
	detail VARCHAR, 
	source VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE ("key")
);
INSERT INTO "events" VALUES(1,X'0000000001A7C36FE847C3C28AB128057222DC8DF5',1.0,'sign-in','ada',NULL,NULL,NULL,NULL,'agent');
INSERT INTO "events" VALUES(2,X'0000000002B3F22CDFD39BEA46A0FF68E25F5FD469',2.0,'app-launch','ada','gimp','g1',0.5,'cold','agent');
INSERT INTO "events" VALUES(3,X'000000000377DD42DD016E6DF1C6D3C23ED4A45488',3.0,'desktop-state',NULL,NULL,'pc1',NULL,'active','states');
CREATE TABLE imports (
	digest VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	lines BIGINT NOT NULL, 
	events BIGINT NOT NULL, 
	bad_lines BIGINT NOT NULL, 
	complete BOOLEAN NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "imports" VALUES('abc','log.csv',10,9,1,1);
CREATE TABLE launches (
	id INTEGER NOT NULL, 
	time_s DOUBLE NOT NULL, 
	user VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	duration_s DOUBLE NOT NULL, 
	reason VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "launches" VALUES(1,2.0,'ada','gimp','cold',0.5,'it was not expected');
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE sign_in_links (
	token_digest BLOB NOT NULL, 
	user VARCHAR NOT NULL, 
	expires_s DOUBLE NOT NULL, 
	PRIMARY KEY (token_digest), 
	FOREIGN KEY(user) REFERENCES users (user) ON DELETE CASCADE
);
INSERT INTO "sign_in_links" VALUES(X'6C696E6B','ada',100.0);
CREATE TABLE users (
	user VARCHAR NOT NULL, 
	display_name VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	PRIMARY KEY (user)
);
INSERT INTO "users" VALUES('ada','Ada','operator',0);
INSERT INTO "users" VALUES('bob','Bob','user',1);
CREATE TABLE web_sessions (
	token_digest BLOB NOT NULL, 
	user VARCHAR NOT NULL, 
	expires_s DOUBLE NOT NULL, 
	PRIMARY KEY (token_digest), 
	FOREIGN KEY(user) REFERENCES users (user) ON DELETE CASCADE
);
INSERT INTO "web_sessions" VALUES(X'646967657374','ada',100.0);
CREATE INDEX events_by_time ON events (time_s, id);
CREATE INDEX events_by_user ON events (user, time_s) WHERE user IS NOT NULL;
CREATE INDEX claims_alive ON claims (ghost) WHERE destroyed = 0;
CREATE INDEX launches_by_user ON launches (user, time_s);
CREATE INDEX launches_by_time ON launches (time_s);
CREATE INDEX ix_web_sessions_user ON web_sessions (user);
COMMIT;
