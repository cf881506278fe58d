-- client character set cp1251
use shop;
insert into `Жук` values (1);
truncate table `Жук`;
alter table `Жук` add column x int comment 'ёж';
rename table `Жук` to `ёж`;
alter table `ёж` rename to `Жук`;
create table `ёж` as select 1 as id;
create temporary table `Жук` (id int);
drop temporary table `Жук`;
drop table `Жук`, `ёж`;
drop database `Ж`;
