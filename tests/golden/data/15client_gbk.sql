-- client character set gbk
use shop;
insert into `表誠` values (1);
truncate table `表誠`;
alter table `表誠` add column x int comment '誠';
rename table `表誠` to `誠`;
alter table `誠` rename to `表誠`;
create table `誠` as select 1 as id;
create temporary table `表誠` (id int);
drop temporary table `表誠`;
drop table `表誠`, `誠`;
drop database `功`;
