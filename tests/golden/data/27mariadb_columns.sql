create database shop;
create table shop.t (id int primary key, u uuid, i inet6, v varchar(50) compressed, j json);
insert into shop.t values (1, '123e4567-e89b-12d3-a456-426614174000', '::1', 'abcabcabcabc', '{}');
create table shop.m (id int) engine=myisam;
insert into shop.m values (1);
