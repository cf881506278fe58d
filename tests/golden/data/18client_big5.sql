-- client character set big5
use shop;
insert into `功許` values (1);
truncate table `功許`;
alter table `功許` add column x int comment '許';
rename table `功許` to `許`;
alter table `許` rename to `功許`;
create table `許` as select 1 as id;
create temporary table `功許` (id int);
drop temporary table `功許`;
drop table `功許`, `許`;
drop database `功`;
