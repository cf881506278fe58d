use shop; set session sql_mode='ANSI_QUOTES';
truncate table "us\ers";
alter table "users" comment 'it''s \', rename to gone';
drop table "plain";
set session sql_mode='NO_BACKSLASH_ESCAPES';
alter table users comment 'a\', rename to people;
alter table people comment "b\", rename to users;
set session sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
alter table "users" comment 'c\', rename to "people";
