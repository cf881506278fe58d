-- client character set sjis
use shop;
insert into `表` values (1);
truncate table `表`;
alter table `表` add column x int comment 'ソ能';
rename table `表` to `ソ能`;
alter table `ソ能` rename to `表`;
create table `ソ能` as select 1 as id;
create temporary table `表` (id int);
drop temporary table `表`;
drop table `表`, `ソ能`;
drop database `ソ`;
