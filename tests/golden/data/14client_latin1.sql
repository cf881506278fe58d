-- client character set latin1
use shop;
insert into `café` values (1);
truncate table `café`;
alter table `café` add column x int comment 'né';
rename table `café` to `né`;
alter table `né` rename to `café`;
create table `né` as select 1 as id;
create temporary table `café` (id int);
drop temporary table `café`;
drop table `café`, `né`;
drop database `dé`;
