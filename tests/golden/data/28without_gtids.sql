create database shop;
create table shop.users (id int primary key, name varchar(20));
begin; insert into shop.users values (1, 'a'), (2, 'b'); update shop.users set name = 'c' where id = 1; commit;
delete from shop.users where id = 2;
truncate shop.users;
