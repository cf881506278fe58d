use SHOP;
insert into USERS values (1);
insert into `übersicht` values (2);
truncate table UserS;
alter table `ÜBERSICHT` add column a int;
rename table Shop.USERS to Shop.People;
create table Users (id int primary key);
drop database SHOP;
